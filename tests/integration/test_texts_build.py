"""Texts of every kind in a built dataset: true of the labels in its shards, counted in dataset.json, exported."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np

from schemas.georef import GeoRef
from schemas.labels import FeatureTable
from schemas.legend import load_legend
from schemas.text import TextRecord
from shards.reader import open_dataset
from tests.integration.support import Build, Terraweft
from tests.unit.captioners.judge_records import judge_record
from tests.unit.captioners.worlds import World

STYLES = {
    "caption/short", "caption/long", "caption/per_class", "caption/per_region", "caption/quantitative", "caption/theme",
    "caption/chatearthnet", "caption/title", "caption/rsvlm_caption", "labels/labels", "grounded/phrases",
    "referring/object", "dialogue/turns", "revision/short", "qa/choice", "qa/relation", "change/pair",
}  # fmt: skip


def test_every_text_of_a_built_dataset_is_true_of_the_labels_in_its_shards(build: Build) -> None:
    legend = load_legend("worldcover-11")
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    with closing(open_dataset(str(build.root))) as dataset:
        for sample in list(dataset.iterate(None))[:24]:
            assert sample.label is not None
            georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, sample.label.shape)
            nothing = FeatureTable("osm", 32631, (), "")
            world = World(np.asarray(sample.label), legend, georef, nothing, (), None, measured=False)
            for text in sample.texts:
                row = TextRecord.model_validate(dict(text))
                assert row.verification == "pass", (row.text, row.checks)
                seen[f"{row.kind}/{row.style}"] += 1
                wrong += [f"{row.text_id}: {one}" for one in judge_record(world, row)]
    assert not wrong, "\n".join(wrong[:20])
    assert set(seen) >= STYLES


def test_the_dataset_says_how_its_texts_fared(build: Build) -> None:
    with closing(open_dataset(str(build.root))) as dataset:
        summary = dataset.document.texts
    assert summary["verification_rates"] == {"pass": 1.0}
    assert summary["recall_over_5_percent"]["long"] > 0.95
    assert set(summary["questions"]["choice"]["positions"]) <= {"1", "2", "3", "4"}
    assert 0.0 < summary["questions"]["bool"]["majority"] <= 1.0
    assert "blind" in summary["questions"]["relation"]
    for style in ("short", "long"):
        assert 0.0 <= summary["captions"][style]["near_duplicates"] <= 1.0
        assert summary["captions"][style]["distinct_2"] > 0.0


def test_conversations_are_exported_from_the_command_line(build: Build, terraweft: Terraweft, tmp_path: Path) -> None:
    done = terraweft("export", build.root, "--to", "llava", "--out", tmp_path / "llava", "--modality", "s2")
    assert done.returncode == 0, done.stderr
    rows = [
        row for path in (tmp_path / "llava").glob("*.json") if path.name != "export.json"
        for row in json.loads(path.read_text())
    ]  # fmt: skip
    assert {row["conversations"][0]["value"].split()[1] for row in rows} >= {"[refer]", "[grounding]"}
