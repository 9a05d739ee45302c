"""Sentences whose truth is known, for measuring the verifier: made from raw label maps, in words of their own.

Every case comes from a chip made here. For every kind of error there are true sentences of the same build. What they
claim of the ground is made in `bench.verifier_claims`; what no caption may say, and what is written by hand, lies in
tables beside this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from bench import verifier_claims as claims
from bench.verifier_chip import Chip, described
from bench.verifier_claims import Case, Maker, capital


def styled() -> dict[str, list[str]]:
    """Kind -> sentences spoilt by what no caption may say."""
    table: dict[str, list[str]] = yaml.safe_load(
        Path(__file__).with_name("verifier_styled.yaml").read_text(encoding="utf-8")
    )
    return table


def _styled(kind: str, bad: tuple[str, ...]) -> Maker:
    """True sentences with and without words that have no place in them."""

    def make(chip: Chip, true: bool) -> Case | None:
        code = chip.pick(chip.present)
        word = chip.noun(code)
        text = chip.pick(PLAIN if true else bad).format(word=word, Word=capital(word))
        return Case(kind, text, (f"share.{code}",), true)

    return make


PLAIN = (
    "{Word} is part of the scene.", "The scene holds {word}.", "Some of the ground is {word}.",
    "{Word} can be seen here.",
    "The land cover includes {word}.", "Part of the view is {word}.", "From above, {word} stands out.",
)  # fmt: skip
"""True of any cover that is there."""


def _cited(kind: str) -> Maker:
    """True sentences with facts that are there, with ids that are not, or with none."""

    def make(chip: Chip, true: bool) -> Case | None:
        code = chip.pick(chip.present)
        text = chip.pick(PLAIN).format(word=chip.noun(code), Word=capital(chip.noun(code)))
        if true:
            return Case(kind, text, (f"share.{code}", "dominant"), True)
        wrong = (
            (f"share.{chip.pick([11, 45, 81, 999])}",),
            (f"shares.{code}",),
            ("cover.main",),
            (f"share.{code}", "patches.x"),
        )
        return Case(kind, text, chip.pick(wrong) if kind == "unknown fact" else (), False)

    return make


def handwritten() -> Iterator[tuple[Chip, Case]]:
    """The sentences of ``verifier_handwritten.yaml``, about the one chip that the file describes."""
    table = yaml.safe_load(Path(__file__).with_name("verifier_handwritten.yaml").read_text(encoding="utf-8"))
    chip = described()
    cite = tuple(fact for fact in table["cite"] if fact in chip.verifier.reading.by_id)
    for text in table["true"]:
        yield chip, Case("written by hand", text, cite, True)
    for texts in table["false"].values():
        for text in texts:
            yield chip, Case("written by hand", text, cite, False)


KINDS: dict[str, Maker] = {
    "class": claims.make_class,
    "absence": claims.make_absence,
    "share": claims.make_share,
    "fraction": claims.make_fraction,
    "share of a region": claims.make_region_share,
    "count": claims.make_count,
    "area": claims.make_area,
    "index": claims.make_index,
    "date": claims.make_date,
    "place": claims.make_place,
    "quantity word": claims.make_quantity,
    "comparison": claims.make_comparison,
    "direction": claims.make_direction,
    "touching": claims.make_touch,
    "shape": claims.make_shape,
    "trend": claims.make_trend,
    "season": claims.make_season,
    "terrain": claims.make_terrain,
    "course": claims.make_course,
    **{kind: _styled(kind, tuple(bad)) for kind, bad in styled().items()},
    "unknown fact": _cited("unknown fact"),
    "no fact": _cited("no fact"),
}  # fmt: skip
"""Kind of error -> how a sentence with (or without) it is made."""


def cases(kind: str, count: int, *, first_seed: int = 0) -> Iterator[tuple[Chip, Case]]:
    """So many true and so many false sentences of a kind, over chips of their own.

    Args:
        kind: a key of `KINDS`.
        count: true ones, and false ones.
        first_seed: of the chips.
    """
    left = {True: count, False: count}
    for seed in range(first_seed, first_seed + 40 * count):
        chip = Chip(seed)
        for _ in range(6):
            for true in (True, False):
                case = KINDS[kind](chip, true) if left[true] else None
                if case is not None:
                    left[true] -= 1
                    yield chip, case
        if not any(left.values()):
            return
