"""Texts that a paid model wrote are those that lie there now."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flows.captioning import TEXTS
from flows.fragments import FragmentWriter
from flows.second_pass import finished_row


def test_texts_that_were_asked_again_are_read_anew(tmp_path: Path) -> None:
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {}, {"row": {"chip_id": "chip"}})
    folder = writer.commit({})
    assert finished_row("chip", folder) == ({"chip_id": "chip"}, [])
    for text in ("the template's", "the model's own"):
        records = [{"kind": "caption", "style": "short", "text": text}]
        (folder / "new").write_text(json.dumps({"chip": records}))
        os.replace(folder / "new", folder / TEXTS)
        assert finished_row("chip", folder) == ({"chip_id": "chip", "caption": text}, records)
