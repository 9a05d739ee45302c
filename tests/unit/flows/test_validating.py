"""A version that waits is judged once, and let in where its gates pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows import scheduled, validating
from flows.notify import Event
from flows.regions import load_regions
from flows.request import BuildRequest, BuildResult
from flows.scheduled import refresh
from flows.validating import WAITS, let_in
from schemas.errors import MissingExtraError, UserError
from schemas.recipe_gates import Gates
from shards.pointer import read_pointer
from shards.storage import Storage, open_storage
from shards.version import publish
from shards.waiting import last_refusal
from tests.unit.shards import made_up

REFUSED = UserError("it does not pass")


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[Storage, str]:
    """A dataset whose first version waits, and the version."""
    root = tmp_path / "data" / "inn"
    storage = open_storage(root)
    return storage, publish(storage, made_up.draft(root, [made_up.sample(0)]), current=False).version


def _judged(monkeypatch: pytest.MonkeyPatch, ends: Exception | None) -> list[str]:
    """Versions that were judged, each with this end."""
    judged: list[str] = []

    def judge(storage: Storage, version: str, gates: Gates | None) -> None:
        judged.append(version)
        if ends is not None:
            raise ends

    monkeypatch.setattr(validating, "judge", judge)
    return judged


def _note(storage: Storage, version: str, name: str, content: str) -> None:
    storage.put(f"validations/{version}/{name}.json", content.encode())


def test_readers_open_a_version_whose_gates_pass(waiting: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch) -> None:
    storage, version = waiting
    judged = _judged(monkeypatch, None)
    assert read_pointer(storage) is None
    assert let_in(storage, version) == "its gates pass"
    pointer = read_pointer(storage)
    assert (judged, pointer and pointer.current) == ([version], version)


@pytest.mark.parametrize("ends", [REFUSED, MissingExtraError.of("torch", "train")])
def test_readers_see_nothing_of_a_version_that_is_refused_or_that_nobody_can_judge(
    waiting: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch, ends: Exception
) -> None:
    storage, version = waiting
    _judged(monkeypatch, ends)
    if ends is REFUSED:
        with pytest.raises(UserError, match="does not pass"):
            let_in(storage, version)
    else:
        assert let_in(storage, version) == WAITS
    assert read_pointer(storage) is None


def test_what_was_refused_is_not_judged_again_every_night(
    waiting: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, version = waiting
    judged = _judged(monkeypatch, None)
    _note(storage, version, "20260301T030000Z", json.dumps({"passed": True, "whole": True}))
    _note(storage, version, "20260302T030000Z", json.dumps({"passed": False, "whole": True}))
    with pytest.raises(UserError, match=r"20260302T030000Z.json: .* still waits: it did not pass"):
        let_in(storage, version)
    _note(storage, version, "20260302T040000Z", json.dumps({"passed": True, "whole": False}))
    assert last_refusal(storage, version) is not None
    assert judged == []
    _note(storage, version, "20260303T030000Z", "[")
    assert last_refusal(storage, version) is None
    assert let_in(storage, version) == "its gates pass"


def test_what_was_refused_is_judged_again_where_the_recipe_has_other_thresholds(
    waiting: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, version = waiting
    judged = _judged(monkeypatch, None)
    tight, loose = Gates(), Gates.model_validate({"noise": {"max_noise": 0.5}})
    refusal = {"passed": False, "whole": True, "thresholds": tight.model_dump(mode="json")}
    _note(storage, version, "20260302T030000Z", json.dumps(refusal))
    with pytest.raises(UserError, match="other thresholds in the recipe judge it again"):
        let_in(storage, version, tight)
    assert judged == []
    assert let_in(storage, version, loose) == "its gates pass"
    assert judged == [version]


def test_a_look_at_some_gates_refuses_nothing(waiting: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch) -> None:
    storage, version = waiting
    judged = _judged(monkeypatch, None)
    _note(storage, version, "20260302T030000Z", json.dumps({"passed": False, "whole": False}))
    assert let_in(storage, version) == "its gates pass"
    assert judged == [version]


def test_a_refresh_says_what_became_of_its_version(
    waiting: tuple[Storage, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, version = waiting
    told: list[Event] = []
    table = tmp_path / "regions.yaml"
    table.write_text(
        "format: 1\nname: alps\nrecipe: sandbox\nroot: data/{region}\n"
        "regions:\n  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}\n"
    )

    def build(request: BuildRequest) -> BuildResult:
        return BuildResult(storage, version, True, {"planned": 1, "kept": 1}, (), 1.0, 1, 0, waits=True)

    monkeypatch.setattr(scheduled, "build", build)
    monkeypatch.setattr(scheduled, "notify", lambda rule, event, environment: told.append(event))
    shown: list[Sequence[str]] = []
    monkeypatch.setattr(scheduled, "show_outcomes", lambda *_: None)
    monkeypatch.setattr(scheduled, "show_result", lambda *said: shown.append(said[4]))
    monkeypatch.setenv("TERRAWEFT_METRICS", str(tmp_path / "metrics"))
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    _judged(monkeypatch, REFUSED)
    with pytest.raises(UserError):
        refresh(load_regions(table), "inn")
    assert not list((tmp_path / "metrics").glob("*"))  # by which a watch would take the night for a good one
    assert shown == []
    _judged(monkeypatch, None)
    assert refresh(load_regions(table), "inn")["published"]
    assert [(one.kind, one.text) for one in told] == [
        ("failed", REFUSED.line()),
        ("published", "1 chips of 1 planned; its gates pass"),
    ]
    assert "terraweft_published" in (tmp_path / "metrics" / "alps-inn.prom").read_text()
    assert shown == [("its gates pass",)]
