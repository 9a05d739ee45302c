"""What is told of a refresh before it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captioners.estimate import estimate_calls
from chips.estimate import Estimate
from chips.inputs import recipe_parts
from flows import build
from flows import forecast as room
from flows.before import Before, Inputs
from flows.bucketing import lay_out
from flows.changed_items import ItemChanges
from flows.compare import FAILED, NEW, Outlook, Touched
from flows.estimates import Estimates
from flows.forecast import Forecast, forecast, look_ahead
from flows.looking import Look
from flows.request import BuildRequest, make_job
from flows.run_marks import last_reading
from flows.steps import STEPS
from schemas.recipe import Recipe
from shards.storage import open_storage
from shards.tar import Segment, StoredSample
from sources.osm import kept_extract
from terraweft.ahead import rows_of
from tests.unit.chips.test_inputs import recipe

PAID = {
    "backend": "openai", "base_url": "https://llm.example.org/v1", "model": "one", "kinds": ["short"],
    "price_per_million_in": 2.0, "price_per_million_out": 8.0, "max_cost": 5.0,
}  # fmt: skip
S2 = frozenset({"s2"})


def stored(chip_id: str, length: int) -> StoredSample:
    return StoredSample(chip_id, "train", "shards/x.tar", Segment(0, length, "0" * 64))


def before() -> Before:
    """Chips a, b and c, of which c was rejected, and d, which failed."""
    inputs = Inputs()
    for chip_id in "abcd":
        inputs.put(chip_id, {"s2": chip_id})
    document: Any = SimpleNamespace(
        version="v1", recipe=recipe().model_dump(mode="json", by_alias=True), steps={}, modalities=(), shards=(),
        sources=(),
    )  # fmt: skip
    places = {"a": stored("a", 1000), "b": stored("b", 3000)}
    return Before(document, Estimates(buckets={"train": 1}), inputs, frozenset("d"), {"c": "clear"}, places)


def look(touched: dict[str, Touched], untouched: str, asked: Recipe) -> Any:
    left = Inputs()
    for chip_id in untouched:
        left.put(chip_id, {"s2": chip_id})
    outlook = Outlook({0: touched} if touched else {}, left, ("gone",), Estimates(buckets={"train": 1}))
    estimate = Estimate(5, 1, 1, 1, 1, 10_000)
    plan = SimpleNamespace(recipe=asked, layers=(), estimate=estimate, notes=("a note",), left_out=lambda: ())
    job = SimpleNamespace(recipe=asked, parts=recipe_parts(asked, STEPS))
    return SimpleNamespace(before=before(), outlook=outlook, plan=plan, job=job)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Forecast:
    """Of a that reads s2, b that gets other texts, n that is new, d that is tried again; c stays rejected."""
    asked = recipe(captions=PAID)
    touched = {
        "a": Touched(S2, S2), "b": Touched(frozenset(), frozenset({"write"})),
        "d": Touched(S2, frozenset([FAILED])), "n": Touched(S2, frozenset([NEW])),
    }  # fmt: skip
    seen = room._Seen(splits=dict.fromkeys(touched, "train"))
    monkeypatch.setattr(room, "_walk", lambda *_: seen)
    monkeypatch.setattr(room, "_cost", lambda *_: Estimate(3, 1, 1, 2_000_000, 7, 0, 80_000_000, 5))
    monkeypatch.setattr(room, "item_changes", lambda *_: {"s2": ItemChanges(("new-scene",))})
    monkeypatch.setattr(room, "other_layers", lambda *_: frozenset())
    found: Any = look(touched, "c", asked)
    storage: Any = None
    return forecast(storage, found)


def test_every_planned_chip_is_told_once(told: Forecast) -> None:
    assert (told.new, told.changed, told.again, told.gone) == (("n",), ("a", "b"), ("d",), ("gone",))
    assert (told.planned, told.unchanged, told.still_rejected) == (5, 0, 1)
    line = "5 planned (1 new, 2 changed, 1 tried again, 1 still rejected); 1 not planned any more"
    assert told.chips_line() == line
    assert told.why() == {"failed before": 1, "new": 1, "s2": 1, "write": 1}


def test_shards_are_as_large_as_the_parent_s_chips(told: Forecast) -> None:
    assert (told.shards_written, told.shards) == (1, 1)
    assert told.shard_bytes == 1000 + 3000 + 2 * 2000, "what nobody knows yet is as large as the others are on average"


def test_a_model_is_asked_of_chips_whose_facts_may_be_others(told: Forecast) -> None:
    captions = recipe(captions=PAID).captions
    assert captions is not None
    assert told.calls == estimate_calls(captions, 3), "b's files are written anew, and its words are the same"
    assert told.figures()["llm_calls"] == [3, 6]
    assert told.recipe[0] == "captions.backend"


def test_keys_that_the_software_knows_beside_are_no_edit() -> None:
    """A version of earlier software lacks them: who had edited nothing was told of twenty edits."""
    then = recipe().model_dump(mode="json", by_alias=True)
    del (
        then["gates"]["plausible"],
        then["modalities"]["s2"]["select"]["max_clear_fraction"],
        then["regions"][0]["geojson"],
    )
    assert room._edited(then, recipe()) == ()
    edited = recipe(modalities__s2__select={"max_clear_fraction": 0.5})
    assert room._edited(then, edited) == ("modalities.s2.select.max_clear_fraction",)
    assert room._edited(then, recipe(regions=[{"name": "r", "bbox": [10, 47, 11, 49]}])) == ("regions",)


def test_steps_that_the_recipe_does_not_go_by_are_not_told(told: Forecast) -> None:
    asked = recipe(labels=None, captions=None)
    found: Any = look({}, "ab", asked)
    storage: Any = None
    assert "fuse" in told.steps
    assert set(forecast(storage, found).steps) == {"plan", "read", "register", "screen", "write"}


def test_it_is_printed_and_read_by_programs(told: Forecast) -> None:
    rows = rows_of(told, 2)
    assert rows["because of"] == "failed before 1, new 1, s2 1, write 1"
    assert rows["  s2"] == "items: 1 new (new-scene)"
    assert rows["to write"] == "1 of 1 tars, about 8 kB"
    assert rows["time"].startswith("about 1 s of reading imagery with 2 worker(s)")
    assert rows["LLM calls"] == "3 to 6"
    found = told.as_dict(2)
    assert found["chips"]["a"] == {"why": ["s2"], "read": ["s2"]}
    assert (found["publishes"], found["seconds_about"], found["llm"]["currency"]) == (True, 1.0, "USD")
    assert found["items"] == {"s2": {"new": ["new-scene"], "changed": [], "gone": []}}


def test_prefect_s_page_shows_it_before_it_is_done(told: Forecast, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(build, "forecast", lambda *_: told)
    monkeypatch.setattr(build, "show_table", lambda key, rows: shown.update({key: rows}))
    request: Any = SimpleNamespace(storage=None, recipe=SimpleNamespace(name="inn_valley"))
    found: Any = None
    build.show_ahead(request, found)
    rows = {row["what"]: row["how much"] for row in shown["inn-valley-refresh"]}
    assert (rows["chips_new"], rows["because_of_s2"], rows["shards_written"]) == (1, 1, 1)
    assert rows["llm_calls"] == "3 to 6"


def test_nothing_new_is_said_to_be_nothing() -> None:
    rows = rows_of(Forecast("v1", True, 3, {}, 2, 1, (), ()), 1)
    assert rows == {"chips": "3 planned (2 unchanged, 1 still rejected)", "to do": "nothing: the current version stays"}


def test_buckets_of_chips_that_are_not_made_follow_from_their_sizes() -> None:
    places = {f"c{number}": ("val", Path(), Path()) for number in range(8)}
    job: Any = SimpleNamespace(recipe=recipe(write={"shard_bytes": 2000, "kinds": ["webdataset"]}))
    layout = lay_out(job, places, Outlook(), None, lambda chip_id: 1000)
    assert layout.counts == {"val": 4}


def test_a_file_that_an_earlier_run_fetched_is_fetched_no_more(tmp_path: Path) -> None:
    href = "https://files.example.org/north.osm.pbf"
    item: Any = SimpleNamespace(refs=[SimpleNamespace(href=href)], extra=(("checksum", "1220ab"),), content_hash="c")
    for file, edition in ((href, None), (item, "1220ab")):
        assert not room._is_kept(tmp_path, file)
        kept_extract(href, tmp_path, edition=edition).touch()
        assert room._is_kept(tmp_path, file)


@pytest.mark.parametrize("is_redone", [False, True])
def test_a_dry_run_knows_what_earlier_runs_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_redone: bool
) -> None:
    """It looks from a folder of its own, in which nothing was ever fetched."""
    asked, storage = recipe(), open_storage(tmp_path / "dataset")
    request = BuildRequest(asked, tmp_path, storage, tmp_path / "work", {}, plan=tmp_path, workers=1)
    job = make_job(request, ())
    reading = last_reading(job, "v1", is_again=True) if is_redone else ""
    went_on = replace(job, reading=reading)

    def looked(given: BuildRequest) -> Any:
        assert given.work != request.work
        there = make_job(given, ())
        there = replace(there, reading=last_reading(there, "v1", is_again=False))
        plan: Any = None
        return Look(plan, there, before(), Outlook(), "v1")

    monkeypatch.setattr(room, "look", looked)
    monkeypatch.setattr(room, "forecast", lambda _, found: found.job.fetched)
    assert look_ahead(request) == went_on.fetched
