"""A back-fill is passed over where the current version holds its day already."""

from __future__ import annotations

import errno
import time
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.context import TagsContext
from prefect.exceptions import Abort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from flows import scheduled
from flows.artifacts import ArtifactProgress
from flows.compare import Outlook
from flows.notify import Event
from flows.plan_store import USED
from flows.progress import Silent, current
from flows.regions import Regions, load_regions
from flows.request import BuildRequest, BuildResult
from flows.scheduled import held_until, refresh, refresh_region, said_of
from flows.stages import fewer_chips
from flows.validating import WAITS
from schemas.errors import BudgetExceededError, DatasetError, IntegrityError, RecipeError, ThrottledError, UserError
from shards.lock import dataset_lock
from shards.storage import open_storage
from shards.version import publish
from tests.unit.shards import made_up

TABLE = """\
format: 1
name: alps
recipe: sandbox
root: data/{region}
regions:
  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}
"""


def _publish(root: Path, made: date, last_day: str) -> None:
    recipe = {"name": "made-up", "format": 1, "time": {"start": "2021-01-01", "end": last_day}}
    created = datetime(made.year, made.month, made.day, 3, tzinfo=UTC)
    publish(open_storage(root), made_up.draft(root, [made_up.sample(0)], created=created, recipe=recipe))


@pytest.mark.parametrize(
    ("last_day", "held"),
    [("2030-12-31", date(2026, 3, 8)), ("2026-03-04", date(2026, 3, 4))],
)
def test_a_version_holds_the_days_before_its_making_up_to_its_recipe_s_end(
    tmp_path: Path, last_day: str, held: date
) -> None:
    storage = open_storage(tmp_path / "d")
    assert held_until(storage) is None
    _publish(tmp_path / "d", date(2026, 3, 9), last_day)
    assert held_until(storage) == held


def test_a_day_that_the_current_version_holds_builds_nothing(tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(TABLE)
    _publish(tmp_path / "data" / "inn", date(2026, 3, 9), "2030-12-31")
    regions = load_regions(tmp_path / "regions.yaml")
    done = refresh(regions, "inn", date(2026, 3, 8))
    assert done == {"region": "inn", "published": False, "skipped": True}


AGAIN = "and are tried again by the next run"
TELLING = TABLE + "notify: {when: [failed, published], webhook_env: HOOK}\n"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Messages that were sent; a site whose dataset is there."""
    sent: list[Event] = []
    monkeypatch.setattr(scheduled, "notify", lambda rule, event, environment: sent.append(event))
    (tmp_path / "regions.yaml").write_text(TELLING)
    return sent


def test_a_run_without_its_variables_is_told(
    tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "regions.yaml").write_text(TELLING.replace("root: data", "root: ${TERRAWEFT_GONE}"))
    monkeypatch.delenv("TERRAWEFT_GONE", raising=False)
    with pytest.raises(RecipeError):
        refresh(load_regions(tmp_path / "regions.yaml"), "inn")
    assert [(one.kind, one.dataset) for one in told] == [("failed", "${TERRAWEFT_GONE}/inn")]
    assert "TERRAWEFT_GONE is not set" in told[0].text


def test_a_back_fill_of_a_damaged_dataset_is_told(tmp_path: Path, told: list[Event]) -> None:
    root = tmp_path / "data" / "inn"
    _publish(root, date(2026, 3, 9), "2030-12-31")
    for document in root.glob("versions/*/dataset.json"):
        document.write_text("{")
    with pytest.raises(DatasetError):
        refresh(load_regions(tmp_path / "regions.yaml"), "inn", date(2026, 3, 8))
    assert [(one.kind, one.dataset) for one in told] == [("failed", str(root))]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "?", "/data/inn/chips.arrays"), "OSError: No space left on device"),
        (IntegrityError("shards/train/00001-aa.tar: other bytes"), "IntegrityError: shards/train/00001-aa.tar: other"),
        (BudgetExceededError("0.02 USD are left\nof 5"), "BudgetExceededError: 0.02 USD are left of 5"),
        (KeyError("https://h/a.tif?sig=secret"), "KeyError"),
    ],
)
def test_a_message_says_what_a_run_failed_of(
    error: Exception, text: str, tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(request: BuildRequest) -> BuildResult:
        raise error

    monkeypatch.setattr(scheduled, "build", build)
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    with pytest.raises(type(error)):
        refresh(load_regions(tmp_path / "regions.yaml"), "inn")
    (event,) = told
    assert event.text.startswith(text)
    assert "secret" not in event.text
    assert len(event.text.splitlines()) == 1


def test_a_run_that_failed_of_a_lost_prefect_server_says_so() -> None:
    """ "ConnectError" alone is taken for the catalog's."""
    api, catalog = "http://prefect:4200/api", "http://stac:8080/search"
    with temporary_settings({PREFECT_API_URL: api}):
        lost = httpx.ConnectError("refused", request=httpx.Request("POST", f"{api}/task_runs/"))
        assert said_of(lost).startswith("the Prefect API was lost (ConnectError)")
        assert said_of(httpx.ConnectError("refused", request=httpx.Request("GET", catalog))) == "ConnectError"
        assert said_of(httpx.ConnectError("refused")) == "ConnectError"


def test_figures_that_cannot_be_written_fail_no_run(
    tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path / "data" / "inn")
    tagged: list[set[str]] = []
    watched: list[type] = []

    def build(request: BuildRequest) -> BuildResult:
        tagged.append(TagsContext.get().current_tags)
        watched.append(type(current()))
        counts = {"planned": 2, "kept": 1, "rejected": {}, "failed": {"DecodeError": 1}}
        return BuildResult(storage, "20260309T030000Z-00000000", True, counts, (), 1.0, 1, 0, waits=True)

    monkeypatch.setattr(scheduled, "build", build)
    shown: list[tuple[str, ...]] = []
    monkeypatch.setattr(scheduled, "show_outcomes", lambda *_: None)
    monkeypatch.setattr(scheduled, "show_result", lambda *said: shown.append(said[4]))
    monkeypatch.setattr(scheduled, "let_in", lambda storage, version, gates: WAITS)
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TERRAWEFT_METRICS", str(tmp_path / "file" / "metrics"))
    assert refresh(load_regions(tmp_path / "regions.yaml"), "inn")["published"]
    assert [(one.kind, one.text) for one in told] == [
        ("published", f"1 chips of 2 planned; 1 failed (DecodeError 1), {AGAIN}; it waits for its validation")
    ]
    assert shown == [(f"1 failed (DecodeError 1), {AGAIN}", WAITS)]
    assert (watched, type(current())) == ([ArtifactProgress], Silent), "what comes next in this process has its own"
    assert tagged == [{"site:alps", "region:inn"}]  # by which the run of the build is found when its machine is lost


@pytest.mark.parametrize(
    ("became", "is_held", "left"),
    [("its gates pass", False, ["stopped"]), (WAITS, False, ["ended", "stopped"]), ("", True, ["ended", "stopped"])],
    ids=["published", "waits", "another build began"],
)
def test_a_night_s_run_leaves_no_pixels_behind(
    became: str, is_held: bool, left: list[str], tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the disk is full some night, however large it is. What the next run goes on with stays."""
    storage = open_storage(tmp_path / "data" / "inn")
    runs = tmp_path / "data" / "inn" / "work" / "runs"
    for name in ("ended", "stopped"):
        (runs / name / "plan").mkdir(parents=True)
        for part in ("first/t0-0a", "realigned/t0-0a", "second/t0-0a"):
            (runs / name / part).mkdir(parents=True)
    (runs / "ended" / "reading.json").write_text("{}")
    (runs / "ended" / "plan" / USED).touch()
    counts = {"planned": 2, "kept": 2, "rejected": {}, "failed": {}}
    result = BuildResult(storage, "20260309T030000Z-00000000", True, counts, (), 1.0, 1, 0, waits=became != "")
    monkeypatch.setattr(scheduled, "build", lambda request: result)
    monkeypatch.setattr(scheduled, "let_in", lambda storage, version, gates: became)
    for name in ("show_outcomes", "show_result"):
        monkeypatch.setattr(scheduled, name, lambda *_: None)
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    with dataset_lock(storage, "by hand") if is_held else nullcontext():
        assert refresh(load_regions(tmp_path / "regions.yaml"), "inn")["published"]
    assert sorted(path.parent.name for path in runs.glob("*/first")) == left
    assert len(list(runs.glob("*/*/t0-0a"))) == 3 * len(left)
    assert (runs / "ended" / "reading.json").exists(), "it says which extracts were fetched last"


@pytest.mark.parametrize(
    ("when", "failed", "kinds"),
    [
        ("[failed, stale]", {"AccessDeniedError": 7}, ["failed"]),
        ("[failed, published]", {"AccessDeniedError": 7}, ["published"]),
        ("[failed, stale]", {}, ["published"]),
    ],
)
def test_who_asked_to_hear_of_failures_hears_of_a_version_that_lost_chips(
    when: str,
    failed: dict[str, int],
    kinds: list[str],
    tmp_path: Path,
    told: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run has ended well: no page and no state says that a third of the dataset could not be read."""
    counts = {"planned": 21, "kept": 14, "rejected": {}, "failed": failed}
    result = BuildResult(open_storage(tmp_path / "data" / "inn"), "v", True, counts, (), 1.0, 1, 0)
    monkeypatch.setattr(scheduled, "_refreshed", lambda *_: (result, ""))
    (tmp_path / "regions.yaml").write_text(TELLING.replace("[failed, published]", when))
    refresh(load_regions(tmp_path / "regions.yaml"), "inn")
    assert [one.kind for one in told] == kinds
    assert [one.text for one in told] == [
        "14 chips of 21 planned" + (f"; 7 failed (AccessDeniedError 7), {AGAIN}" if failed else "")
    ]


@pytest.mark.parametrize(
    ("rejected", "fewer", "became", "text"),
    [
        (14, "14 chips fewer than v1 has", "", "50 chips of 64 planned; 14 chips fewer than v1 has"),
        (0, "", WAITS, "64 chips of 64 planned; it waits for its validation"),
    ],
    ids=["shrank", "waits"],
)
def test_who_asked_to_hear_of_failures_hears_of_a_version_that_is_not_what_a_night_should_bring(
    rejected: int,
    fewer: str,
    became: str,
    text: str,
    tmp_path: Path,
    told: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A catalog that lost items for a night answers as well as ever, and their chips were rejected. A worker without
    torch leaves every night's version waiting, and readers with that of long ago.
    """
    counts = {"planned": 64, "kept": 64 - rejected, "rejected": {"s2.min_dates": rejected}, "failed": {}}
    result = BuildResult(open_storage(tmp_path / "data" / "inn"), "v", True, counts, (), 1.0, 1, 0, fewer=fewer)
    monkeypatch.setattr(scheduled, "_refreshed", lambda *_: (result, became))
    (tmp_path / "regions.yaml").write_text(TELLING.replace("[failed, published]", "[failed, stale]"))
    refresh(load_regions(tmp_path / "regions.yaml"), "inn")
    assert [(one.kind, one.text) for one in told] == [("failed", text)]


@pytest.mark.parametrize(
    ("kept", "removed", "is_told"),
    [(50, (), True), (60, (), False), (70, (), False), (50, tuple(f"c{n}" for n in range(14)), False)],
    ids=["fewer", "a few", "more", "planned no more"],
)
def test_a_version_with_much_fewer_chips_of_those_that_are_planned_says_so(
    kept: int, removed: tuple[str, ...], is_told: bool
) -> None:
    places = {f"c{number}": None for number in range(64)}
    before = SimpleNamespace(places=places, version="v1")
    said = fewer_chips(kept, before, Outlook(removed=removed))  # type: ignore[arg-type]
    assert said == ("14 chips fewer than v1 has" if is_told else "")
    assert fewer_chips(kept, None, Outlook()) == ""


def test_days_are_made_up_for_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "regions.yaml").write_text(TABLE)
    begun: list[date | None] = []

    def refreshed(regions: Regions, region: str, day: date | None = None) -> dict[str, object]:
        begun.append(day)
        if day == date(2026, 3, 6):
            raise DatasetError("another build holds it")
        if day == date(2026, 3, 1):
            raise RecipeError("no item lies in the time window")
        return {"region": region, "published": day == date(2026, 3, 4), "skipped": False}

    monkeypatch.setattr(scheduled, "refresh", refreshed)
    table = str(tmp_path / "regions.yaml")
    assert refresh_region.fn(table, "inn", ["2026-03-05", "2026-03-04"])["published"]
    with pytest.raises(DatasetError):
        refresh_region.fn(table, "inn", ["2026-03-05", "2026-03-06", "2026-03-07"])
    with pytest.raises(RecipeError):
        refresh_region.fn(table, "inn", ["2026-03-01", "2026-03-02"])
    refresh_region.fn(table, "inn", "2026-03-08")
    refresh_region.fn(table, "inn")
    assert [day and day.day for day in begun] == [4, 5, 5, 6, 1, 2, 8, None]


def test_a_run_that_hangs_gives_its_place_back_and_is_told(
    tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It beats as ever, so that no watch over lost runs ends it."""

    def build(request: BuildRequest) -> BuildResult:
        time.sleep(30)
        raise AssertionError("it was not ended")

    monkeypatch.setattr(scheduled, "build", build)
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    (tmp_path / "regions.yaml").write_text(TELLING + "hours_at_most: 0.0002\n")
    with pytest.raises(UserError, match="region inn: hours_at_most"):
        refresh(load_regions(tmp_path / "regions.yaml"), "inn")
    assert [(one.kind, one.text.partition(" (")[0]) for one in told] == [
        ("failed", "regions.yaml: region inn: hours_at_most: the run was ended: it took longer than 0.0002 h")
    ]


def test_a_run_that_was_killed_is_told(tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    run = FlowRun.model_construct(id=uuid4(), parameters={"table": str(tmp_path / "regions.yaml"), "region": "inn"})
    marked: list[UUID] = []
    monkeypatch.setattr(scheduled, "notify", lambda rule, event, environment: told.append(event) or 1)
    monkeypatch.setattr("flows.told._label", marked.append)
    (hook,) = refresh_region.on_crashed_hooks
    hook(flow=refresh_region, flow_run=run, state=Crashed())
    assert [(one.kind, one.region, one.dataset) for one in told] == [("failed", "inn", str(tmp_path / "data" / "inn"))]
    assert "crashed" in told[0].text
    assert marked == [run.id], "so that the morning does not tell it again"


def test_a_run_that_comes_again_tells_nobody(
    tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(request: BuildRequest) -> BuildResult:
        assert request.patience_s == (), "a pause in the process holds a place of the pool"
        raise ThrottledError("HTTP 503", "http://127.0.0.1:1")

    def come_again(error: Exception, said: str) -> None:
        raise Abort(said)

    monkeypatch.setattr(scheduled, "build", build)
    monkeypatch.setattr(scheduled, "is_scheduled", lambda: True)
    monkeypatch.setattr(scheduled, "come_again", come_again)
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", "http://127.0.0.1:1")
    with pytest.raises(Abort, match="ThrottledError: HTTP 503"):
        refresh_region.fn(str(tmp_path / "regions.yaml"), "inn")
    assert told == []


def test_a_run_whose_row_is_gone_is_told_to_whom_the_table_names(tmp_path: Path, told: list[Event]) -> None:
    with pytest.raises(UserError):
        refresh_region.fn(str(tmp_path / "regions.yaml"), "etsch")
    (hook,) = refresh_region.on_crashed_hooks
    gone = {"table": str(tmp_path / "regions.yaml"), "region": "etsch"}
    hook(flow=refresh_region, flow_run=FlowRun.model_construct(id=uuid4(), parameters=gone), state=Crashed())
    assert [(one.kind, one.region) for one in told] == [("failed", "etsch")] * 2
    assert "terraweft deploy regions.yaml --prune" in told[0].text


def test_a_run_is_named_by_the_day_of_its_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As back-fills are: a run of six in the morning in Tokyo begins on the day before in UTC."""
    table = tmp_path / "regions.yaml"
    given = {"table": str(table), "region": "inn"}
    fired = SimpleNamespace(parameters=given, scheduled_start_time=datetime(2026, 3, 9, 21, tzinfo=UTC))
    monkeypatch.setattr(scheduled, "flow_run", fired)
    table.write_text(TABLE + 'schedule: {cron: "0 6 * * *", timezone: Asia/Tokyo}\n')
    assert scheduled.run_name() == "inn 2026-03-10"
    for text in (TABLE, "format: 2"):
        table.write_text(text)
        assert scheduled.run_name() == "inn 2026-03-09"
