"""Choosing in several windows and modalities: limits hold, order changes nothing, companions are chosen together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chips.select import DateCandidate, Kept, Wish, screen_dates, select_jointly
from chips.windows import Span
from schemas.recipe import Select

NOON = datetime(2021, 6, 15, 12, tzinfo=UTC)
WHOLE = Span("", NOON, NOON, NOON)


def span(name: str, first: float, last: float) -> Span:
    middle = NOON + timedelta(days=(first + last) / 2)
    return Span(name, NOON + timedelta(days=first), NOON + timedelta(days=last), middle)


def at(day: float, clear: float = 1.0, nodata: float = 0.0, state: str = "", slack: float = 0.0) -> DateCandidate:
    return DateCandidate(f"i{day:+}{state}", NOON + timedelta(days=day), clear, nodata, state, slack)


def wish(*spans: Span, **more: Any) -> Wish:
    flags = {
        key: more.pop(key)
        for key in ("is_composite", "is_one_pass", "is_optional", "is_pair", "needs_clear")
        if key in more
    }
    return Wish(Select.model_validate(more), spans or (WHOLE,), **flags)


def members(kept: list[Kept]) -> list[tuple[str, tuple[int, ...]]]:
    return [(date.span.window, date.members) for date in kept]


WINDOWS = (span("a", -30, -11), span("b", -10, 9), span("c", 10, 29))


def test_each_window_has_its_own_choice() -> None:
    dates = [at(-20, 0.5), at(-15, 0.9), at(0, 0.7), at(5, 0.6), at(40)]
    kept = select_jointly({"m": dates}, {"m": wish(*WINDOWS, how="least_cloudy", max_dates=1)})["m"]
    assert members(kept) == [("a", (1,)), ("b", (2,))]


class Counted(Span):
    """A window that counts how often it is asked."""

    asked = 0

    def holds(self, moment: datetime) -> bool:
        Counted.asked += 1
        return super().holds(moment)


def test_a_date_asks_a_few_of_many_windows() -> None:
    count = 200
    spans = [span(f"w{day}", day - 0.4, day + 0.4) for day in range(count)]
    Counted.asked = 0
    counted = [Counted(s.window, s.start_utc, s.end_utc, s.reference_utc) for s in spans]
    dates = [at(day) for day in range(count)]
    kept = select_jointly({"m": dates}, {"m": wish(*counted)})["m"]
    assert members(kept) == [(f"w{day}", (day,)) for day in range(count)]
    assert Counted.asked < 20 * count


def test_missing_steps_are_kept_empty_so_that_all_chips_have_the_same() -> None:
    dates = [at(-20), at(0), at(1), at(2)]
    kept = select_jointly({"m": dates}, {"m": wish(*WINDOWS, max_dates=2, keep_missing=True)})["m"]
    assert members(kept) == [("a", (0,)), ("a", ()), ("b", (1,)), ("b", (3,)), ("c", ()), ("c", ())]


def test_composite_of_a_window_has_all_of_its_dates() -> None:
    dates = [at(-20), at(-12), at(0)]
    plain = select_jointly({"m": dates}, {"m": wish(*WINDOWS, is_composite=True)})["m"]
    assert members(plain) == [("a", (0, 1)), ("b", (2,))]
    padded = select_jointly({"m": dates}, {"m": wish(*WINDOWS, is_composite=True, keep_missing=True)})["m"]
    assert members(padded)[-1] == ("c", ())


def test_composite_has_no_date_of_which_it_can_hold_nothing() -> None:
    dates = [at(-9, 0.0), at(-8, 0.4), at(-3, 0.0, slack=0.05), at(2, 0.0), at(3, 0.2)]
    select = {"how": "all", "max_dates": 2}
    wanted = wish(*WINDOWS, **select, is_composite=True, needs_clear=True)
    assert members(select_jointly({"m": dates[:2] + dates[3:]}, {"m": wanted})["m"]) == [("b", (1, 3))]
    glanced = replace(wanted, select=wanted.select.model_copy(update={"max_dates": 9}))
    assert members(select_jointly({"m": dates}, {"m": glanced})["m"]) == [("b", (1, 2, 4))]  # it is looked at again
    least_bad = wish(*WINDOWS, max_dates=9, is_composite=True)
    assert members(select_jointly({"m": dates}, {"m": least_bad})["m"]) == [("b", (0, 1, 2, 3, 4))]


def test_companions_are_chosen_together() -> None:
    """The clearest date has no companion: the next clear one is kept, with its own."""
    s2 = [at(-9, 0.8), at(0, 1.0), at(8, 0.3)]
    s1 = [at(-8), at(4), at(9)]
    near = {"modality": "s2", "max_gap_days": 3}
    wishes = {
        "s1": wish(how="closest", max_dates=1, near=near),
        "s2": wish(how="least_cloudy", max_dates=1),
    }
    kept = select_jointly({"s1": s1, "s2": s2}, wishes)
    assert (members(kept["s2"]), members(kept["s1"])) == ([("", (0,))], [("", (0,))])
    optional = {**wishes, "s1": wish(how="closest", max_dates=1, near=near, is_optional=True)}
    kept = select_jointly({"s1": s1, "s2": s2}, optional)
    assert (members(kept["s2"]), members(kept["s1"])) == ([("", (1,))], [])


def test_chain_of_companions_holds_together() -> None:
    s2, s1, l8 = [at(0), at(20)], [at(1), at(19)], [at(18)]
    wishes = {
        "s2": wish(how="closest", max_dates=1),
        "s1": wish(near={"modality": "s2", "max_gap_days": 2}),
        "l8": wish(near={"modality": "s1", "max_gap_days": 2}),
    }
    kept = select_jointly({"s2": s2, "s1": s1, "l8": l8}, wishes)
    assert [members(kept[name]) for name in ("s2", "s1", "l8")] == [[("", (1,))], [("", (1,))], [("", (0,))]]


def test_passes_never_mix_unless_asked() -> None:
    dates = [
        at(-20, state="ascending"),
        at(-15, state="descending"),
        at(0, state="descending"),
        at(1, state="ascending"),
    ]
    kept = select_jointly({"m": dates}, {"m": wish(*WINDOWS, is_one_pass=True)})["m"]
    assert members(kept) == [("a", (0,)), ("b", (3,))]  # both fill two windows: ascending
    one_more = [*dates, at(12, state="descending")]
    kept = select_jointly({"m": one_more}, {"m": wish(*WINDOWS, is_one_pass=True)})["m"]
    assert members(kept) == [("a", (1,)), ("b", (2,)), ("c", (4,))]
    assert len(select_jointly({"m": dates}, {"m": wish(*WINDOWS)})["m"]) == 4


def test_pair_needs_both_sides_unless_told_otherwise() -> None:
    one_side = [Kept(WINDOWS[0], (0,))]
    outcome = screen_dates("c", "m", one_side, wish(*WINDOWS[:2], is_pair=True))
    assert outcome is not None
    assert (outcome.reason, outcome.measured, outcome.limit) == ("m.min_windows", 1.0, 2.0)
    assert screen_dates("c", "m", one_side, wish(*WINDOWS[:2], min_windows=1, is_pair=True)) is None
    assert screen_dates("c", "m", one_side, wish(*WINDOWS[:2])) is None


def test_companions_of_a_pair_lie_on_one_side_of_the_event() -> None:
    """The clearest date before the event has a companion after it alone: another one is kept, with its own."""
    sides = span("pre", -20, -0.5), span("post", 0.5, 20)
    s2, s1 = [at(-8, 0.9), at(-1, 1.0), at(2, 0.9)], [at(-9), at(1)]
    near = {"modality": "s2", "max_gap_days": 3}
    wishes = {
        "s2": wish(*sides, how="least_cloudy", max_dates=1, is_pair=True),
        "s1": wish(*sides, how="closest", max_dates=1, near=near, is_pair=True),
    }
    kept = select_jointly({"s2": s2, "s1": s1}, wishes)
    assert members(kept["s2"]) == [("pre", (0,)), ("post", (2,))]
    assert members(kept["s1"]) == [("pre", (0,)), ("post", (1,))]
    assert screen_dates("c", "s1", kept["s1"], wishes["s1"]) is None
    steps = {name: replace(one, is_pair=False) for name, one in wishes.items()}  # of a series any neighbour serves
    assert members(select_jointly({"s2": s2, "s1": s1}, steps)["s2"]) == [("pre", (1,)), ("post", (2,))]
    whole = {**wishes, "s1": wish(how="closest", max_dates=1, near=near)}  # and of a layer without sides
    assert members(select_jointly({"s2": s2, "s1": s1}, whole)["s2"]) == [("pre", (1,)), ("post", (2,))]


def test_a_glance_widens_the_limits_by_its_slack() -> None:
    limits = {"min_clear_fraction": 0.5, "max_nodata_fraction": 0.1}
    seen, glanced = at(0, 0.47, 0.12), at(0, 0.47, 0.12, slack=0.05)
    assert select_jointly({"m": [seen]}, {"m": wish(**limits)})["m"] == []
    assert members(select_jointly({"m": [glanced]}, {"m": wish(**limits)})["m"]) == [("", (0,))]


passes = st.sampled_from(["ascending", "descending"])
dates = st.builds(at, st.integers(-30, 29), st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from([0.0, 0.6]), passes)
candidates = st.lists(dates, max_size=8, unique_by=lambda c: c.item_id)
hows = st.sampled_from(["all", "closest", "least_cloudy", "newest"])


@given(candidates, candidates, hows, hows, st.integers(1, 3), st.booleans(), st.randoms(), st.booleans())
def test_limits_hold_whatever_the_order(
    s2: Any, s1: Any, how_a: Any, how_b: Any, most: int, together: bool, random: Any, several: bool
) -> None:
    spans = WINDOWS if several else (WHOLE,)
    near = {"modality": "s2", "max_gap_days": 4}
    wishes = {
        "s2": wish(*spans, how=how_a, max_dates=most, min_clear_fraction=0.3),
        "s1": wish(*spans, how=how_b, max_dates=9, near=near, is_one_pass=True, is_composite=together),
    }
    kept = select_jointly({"s2": s2, "s1": s1}, wishes)
    chosen = {name: [dates[i] for date in kept[name] for i in date.members] for name, dates in (("s2", s2), ("s1", s1))}
    gap = timedelta(days=4)
    assert all(c.clear_fraction >= 0.3 and c.nodata_fraction <= 0.5 for c in chosen["s2"])
    assert all(any(abs(c.datetime_utc - o.datetime_utc) <= gap for o in chosen["s2"]) for c in chosen["s1"])
    assert all(any(abs(c.datetime_utc - o.datetime_utc) <= gap for o in chosen["s1"]) for c in chosen["s2"])
    assert len({c.orbit_state for c in chosen["s1"]}) <= 1
    for name in ("s2", "s1"):
        assert chosen[name] == sorted(chosen[name], key=lambda c: (c.datetime_utc, c.item_id))
        for window in spans:
            inside = [i for date in kept[name] if date.span is window for i in date.members]
            assert len(inside) <= wishes[name].select.max_dates
    shuffled = {"s2": random.sample(s2, len(s2)), "s1": random.sample(s1, len(s1))}
    again = select_jointly(shuffled, wishes)
    for name in ("s2", "s1"):
        assert [shuffled[name][i] for date in again[name] for i in date.members] == chosen[name]
