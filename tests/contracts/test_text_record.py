"""The record's JSON Schema is the code's, and every record that the template writes obeys both it and the form.

python tests/contracts/test_text_record.py        writes schemas/text_record.schema.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioners.template import KINDS, template_records
from schemas.text import TextRecord, record_faults
from tests.unit.captioners.worlds import caption_input, make_world

PATH = Path(__file__).parents[2] / "schemas" / "text_record.schema.json"


def schema() -> dict[str, Any]:
    """The schema as the code has it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TextRecord.model_json_schema()}


def test_the_published_schema_is_the_codes() -> None:
    assert json.loads(PATH.read_text(encoding="utf-8")) == schema(), "python tests/contracts/test_text_record.py"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(6, 40), columns=st.integers(6, 40))
def test_every_record_of_every_kind_obeys_schema_and_form(seed: int, rows: int, columns: int) -> None:
    one = caption_input(make_world(seed, shape=(rows, columns)), "chip", kinds=tuple(KINDS))
    validator = jsonschema.Draft202012Validator(schema())
    records = template_records(one)
    held = {fact.fact_id for fact in one.facts.facts}
    assert len({record.text_id for record in records}) == len(records)
    for record in records:
        row = record.model_dump(mode="json")
        validator.validate(row)
        assert list(record_faults(row)) == []
        assert set(record.facts) <= held
        assert record.facts_sha256 == one.facts.sha256()
        if record.parent_id:
            assert record.parent_id in {other.text_id for other in records}


FORM = {
    "text_id": "c-grounded-1", "chip_id": "c", "kind": "grounded", "text": "One pond here.", "facts_sha256": "0",
    "backend": "template", "verification": "pass",
    "spans": [{"start": 0, "end": 8, "phrase": "One pond", "targets": [0]}],
    "geometries": [{"kind": "box", "values": [1, 1, 5, 4], "shape_yx": [8, 10], "source": "label"}],
}  # fmt: skip
BROKEN = {
    "a span beside its phrase": {"spans": [{"start": 1, "end": 8, "phrase": "One pond", "targets": []}]},
    "an empty span": {"spans": [{"start": 3, "end": 3, "phrase": "", "targets": []}]},
    "a target that is not there": {"spans": [{"start": 0, "end": 8, "phrase": "One pond", "targets": [1]}]},
    "a box beyond the edge": {"geometries": [{**FORM["geometries"][0], "values": [1, 1, 11, 4]}]},  # type: ignore[index]
    "a box turned round": {"geometries": [{**FORM["geometries"][0], "values": [5, 1, 1, 4]}]},  # type: ignore[index]
    "a flat oriented box": {
        "geometries": [{"kind": "oriented_box", "values": [4, 4, 3, 0, 0], "shape_yx": [8, 10], "source": "label"}]
    },
    "an oriented box elsewhere": {
        "geometries": [{"kind": "oriented_box", "values": [40, 4, 3, 2, 0], "shape_yx": [8, 10], "source": "label"}]
    },
    "a mask too short": {"geometries": [{"kind": "mask", "rle": [3, 4], "shape_yx": [8, 10], "source": "label"}]},
    "an empty target with a box": {"empty_target": True},
    "an answer that is no option": {"options": ["a", "b"], "answer": "c"},
    "an option twice": {"options": ["a", "a"], "answer": "a"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_record_that_breaks_its_form_is_found(what: str) -> None:
    whole = TextRecord.model_validate(FORM)
    assert list(record_faults(whole.model_dump(mode="json"))) == []
    broken = TextRecord.model_validate({**FORM, **BROKEN[what]})
    assert list(record_faults(broken.model_dump(mode="json")))


def test_a_dialogue_has_turns_and_nothing_else_has() -> None:
    turns = [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}]
    with pytest.raises(ValueError, match="turns"):
        TextRecord.model_validate({**FORM, "kind": "dialogue"})
    with pytest.raises(ValueError, match="turns"):
        TextRecord.model_validate({**FORM, "turns": turns})
    one = TextRecord.model_validate({**FORM, "kind": "dialogue", "turns": turns, "spans": [], "geometries": []})
    assert list(record_faults(one.model_dump(mode="json"))) == ["its text is not its turns"]


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
