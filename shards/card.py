"""``README.md`` of a version: the dataset card, from ``card.md.j2``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, StrictUndefined, Template

from schemas.dataset import DatasetDocument
from shards.stac_collection import bbox_of, interval_of

STANDING_LIMITS = (
    "Dates are chosen per sensor: gap_days says how far each lies from the chip's reference time.",
    "Missing dates and pixels are marked 0 in the validity mask and are never filled.",
)


def write_card(
    path: Path,
    document: DatasetDocument,
    rows: pa.Table,
    description: str,
    limits: Sequence[str],
) -> None:
    """Write the card of a version."""
    path.write_text(render_card(document, rows, description, limits), encoding="utf-8")


def render_card(document: DatasetDocument, rows: pa.Table, description: str, limits: Sequence[str]) -> str:
    """The card as Markdown. Values are escaped where they could break a table."""
    first, last = interval_of(rows, document)
    return _template().render(
        document=document,
        description=description,
        limits=[*limits, *STANDING_LIMITS],
        split="train" if "train" in document.splits["counts"] else min(document.splits["counts"]),
        bbox=bbox_of(rows),
        first=(first or "")[:10],
        last=(last or "")[:10],
        shard_bytes=sum(record.bytes for record in document.shards),
        licences=_licences(document),
        when_statistics=document.when_statistics([table.group for table in document.modalities]),
    )


@cache
def _template() -> Template:
    """``card.md.j2``, compiled once: that takes longer than to publish a small version's tables."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["cell"] = _cell
    environment.filters["size"] = _size
    return environment.from_string((resources.files("shards") / "card.md.j2").read_text(encoding="utf-8"))


def _licences(document: DatasetDocument) -> list[dict[str, Any]]:
    """One line per layer, collection and licence; then the fused label's."""
    lines = []
    for source in (*document.sources, *document.fused_sources()):
        terms = [
            *(["share alike"] if source.share_alike else []),
            *(["not for commercial use"] if source.non_commercial else []),
            *([] if source.redistributable else ["may not be given on"]),
        ]
        line = {
            "layer": source.layer,
            "collection": source.collection,
            "licence": source.licence,
            "attribution": source.attribution,
            "terms": ", ".join(terms),
            "items": len(source.items) if source in document.sources else "",
        }
        lines.append(line)
    return lines


def _cell(value: Any) -> str:
    """A value in a Markdown table: one line, no bar, no markup."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def _size(count: int) -> str:
    """Bytes for people."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
