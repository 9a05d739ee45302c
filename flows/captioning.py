"""Captions by a paid model: in the flow's own process, since the ledger has one writer.

A tile's texts are written as one file beside its fragments, complete or not at all; a tile that has its file is not
asked again, and answers that were paid are in the ledger whatever happens to the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from captioners.base import make_captioner
from flows.caption_inputs import read_waiting
from flows.fragments import read_json
from flows.passes import Job
from flows.progress import current
from schemas.recipe import fill

api_key: ContextVar[str | None] = ContextVar("api_key", default=None)
"""Key of the language model's server. Set by the lobby; never an argument, so that no log or database sees it."""
TEXTS = "texts.json"
"""Name of a tile's file of texts."""


def caption_tiles(job: Job, second: Mapping[str, Path], ledger: Path | None) -> dict[str, Any]:
    """Write the texts of every tile that lacks them; what they cost.

    Args:
        job: the run.
        second: tile id -> fragments of the second pass, with the fact sheets that wait.
        ledger: the paid-answer ledger.
    """
    captions = job.recipe.captions
    if captions is None or captions.backend == "template":
        return {}
    base_url = fill(captions.base_url, job.variables, "captions.base_url")
    captioner = make_captioner(
        captions, api_key=api_key.get(), base_url=base_url, ledger_path=ledger, purse=job.recipe.hash()
    )
    progress = current()
    progress.start("caption", len(second))
    for tile_id in sorted(second):
        target = second[tile_id] / TEXTS
        if not target.exists():
            inputs = [
                read_waiting(job, chip_id, waiting, second[tile_id]) for chip_id, waiting in _pending(second[tile_id])
            ]
            records = captioner.write(inputs)
            texts = {i.chip_id: [r.model_dump(mode="json") for r in rs] for i, rs in zip(inputs, records, strict=True)}
            temporary = target.with_suffix(f".tmp-{os.getpid()}")
            temporary.write_text(json.dumps(texts), encoding="utf-8")
            os.replace(temporary, target)
        progress.advance("caption")
    progress.finish("caption")
    return captioner.cost()


def _pending(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return sorted(read_json(folder / "tile.json")["pending"].items())
