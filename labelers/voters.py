"""Who votes in a fusion: the sources in the recipe's order, and what each of their codes says of the target
classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from labelers.base import first_accuracy, start_accuracy
from schemas.errors import RecipeError
from schemas.labels import LabelLayer
from schemas.legend import generation, load_crosswalk, load_legend
from schemas.recipe import Labels

SILENT = -1
"""Symbol of a pixel at which a source says nothing."""

CODE_SPACE = 65536
"""Codes are 16-bit."""

NATIVE_GSD_M = {"worldcover": 10.0, "corine": 100.0}
"""Kind -> GSD of the product itself."""

CONTEXT_KINDS = frozenset({"corine", "osm"})
"""Sources that speak of land use and parcels: inside one village both are wrong at the same garden, so their
votes
are not independent, and are taken together."""


@dataclass(frozen=True, slots=True)
class Voter:
    """One source of a fusion."""

    source: str
    """Name in the recipe."""
    legend: str
    """Legend of its codes."""
    weight: float = 1.0
    """Its vote in method ``vote``."""
    accuracy: float = 0.8
    """Share of pixels supposed right before anything is estimated."""
    is_context: bool = False
    """See `CONTEXT_KINDS`."""
    freshness: float = 1.0
    """What age leaves of its accuracy and its vote, 0..1."""
    gsd_m: float = 0.0
    """GSD of the product itself; 0 where it is not known."""
    first_accuracy: float = 0.8
    """Share at which the first class of a code is supposed right where no land cover map speaks (`labelers.alone`)."""
    is_told: bool = False
    """Whether the recipe tells its accuracy, which then holds for all codes alike."""


@dataclass(frozen=True, slots=True)
class FusionSetup:
    """Everything about a fusion that is decided before a pixel is seen."""

    method: str
    """priority, vote or dawid-skene."""
    target: str
    """Legend of the fused layer."""
    voters: tuple[Voter, ...]
    """In the recipe's order."""
    order: tuple[str, ...]
    """Sources by priority, the strongest first."""
    abstain_below: float
    """Confidence (0..1) under which a pixel abstains."""

    def tables(self) -> tuple[VoteTable, ...]:
        """The vote table of each voter."""
        return tuple(vote_table(voter.legend, self.target) for voter in self.voters)


@dataclass(frozen=True, eq=False)
class VoteTable:
    """What the codes of a legend say of the classes of a target legend."""

    codes: tuple[int, ...]
    """Codes that say something; the symbol of a code is its position here."""
    shares: NDArray[np.float64]
    """(symbols, classes) how a code's vote is divided among the classes that it admits; rows sum to 1."""
    symbol_of: NDArray[np.int16]
    """(65536,) symbol of every code, `SILENT` for no data and unmapped codes."""


CHANGE_PER_YEAR = 0.005
"""Share of the land that has another class a year later. A judgement on the side of caution: CORINE's own changes of
2012-2018 in Europe are fewer, those that a 10 m pixel sees (felling, building, ploughing of grass) are more."""


def setup_of(labels: Labels, year: int | None = None) -> FusionSetup:
    """The fusion that a recipe asks for.

    Args:
        labels: the recipe's.
        year: of the pictures that are labelled: a source of another year is trusted the less the farther it is.

    Raises:
        RecipeError: there is none; the target has too many classes; a source has no crosswalk to it; ``priority``
        names an unknown source.
    """
    if labels.fuse is None:
        raise RecipeError("labels.fuse is not set", mend="name a method and a legend")
    load_legend(labels.fuse.legend).require_indices(where="labels.fuse.legend")
    unknown = [name for name in labels.fuse.priority if name not in labels.sources]
    if unknown:
        raise RecipeError(
            f"labels.fuse.priority names {unknown[0]!r}", mend=f"label sources: {', '.join(labels.sources)}"
        )
    voters = tuple(
        Voter(
            name,
            source.legend_name(),
            source.weight,
            start_accuracy(source),
            source.kind in CONTEXT_KINDS,
            1.0 if year is None or source.year is None else (1 - CHANGE_PER_YEAR) ** abs(year - source.year),
            NATIVE_GSD_M.get(source.kind, 0.0),
            first_accuracy(source),
            source.accuracy is not None,
        )
        for name, source in labels.sources.items()
    )
    rest = [name for name in labels.sources if name not in labels.fuse.priority]
    setup = FusionSetup(
        method=labels.fuse.method,
        target=labels.fuse.legend,
        voters=voters,
        order=(*labels.fuse.priority, *rest),
        abstain_below=labels.fuse.abstain_below,
    )
    setup.tables()
    return setup


def vote_table(legend: str, target: str) -> VoteTable:
    """The votes of a legend's codes, from the crosswalk; of the classes that a code admits each has half the
    share of the one before.

    Raises:
        RecipeError: no crosswalk, one that names unknown classes, leaves out a code of the legend, or maps none.
    """
    return _vote_table(legend, target, generation())


@cache
def _vote_table(legend: str, target: str, generation: int) -> VoteTable:
    crosswalk, goal = load_crosswalk(legend, target), load_legend(target)
    told = {*crosswalk.maps, *crosswalk.unmapped}
    if forgotten := [entry.code for entry in load_legend(legend).classes if entry.code not in told]:
        raise RecipeError(
            f"crosswalk {legend} -> {target} says nothing of code {forgotten[0]}",
            mend="map it, or name it under unmapped",
        )
    if not crosswalk.maps:
        raise RecipeError(
            f"crosswalk {legend} -> {target} maps no code: the source says nothing of it",
            mend="leave the source out, or map a code",
        )
    index_of = {entry.code: index for index, entry in enumerate(goal.classes)}
    codes = tuple(sorted(crosswalk.maps))
    shares = np.zeros((len(codes), len(goal.classes)))
    symbol_of = np.full(CODE_SPACE, SILENT, dtype=np.int16)
    for symbol, code in enumerate(codes):
        admitted = crosswalk.maps[code]
        if unknown := [c for c in admitted if c not in index_of]:
            raise RecipeError(f"crosswalk {legend} -> {target} sends {code} to {unknown[0]}, which {target} lacks")
        for place, class_code in enumerate(admitted):
            shares[symbol, index_of[class_code]] = 0.5**place
        symbol_of[code] = symbol
    shares /= shares.sum(axis=1, keepdims=True)
    shares.setflags(write=False)
    symbol_of.setflags(write=False)
    return VoteTable(codes, shares, symbol_of)


def to_symbols(votes: Sequence[LabelLayer], setup: FusionSetup) -> NDArray[np.int16]:
    """What each voter says at each pixel.

    Args:
        votes: the layers of one chip, all on one grid; sources that do not cover the chip may be missing.
        setup: names the voters.

    Returns:
        (voters, H, W) symbols; `SILENT` where a voter says nothing.

    Raises:
        ValueError: no layer, an unknown source, another legend, or another grid.
    """
    by_source: Mapping[str, LabelLayer] = {vote.source: vote for vote in votes}
    unknown = set(by_source) - {voter.source for voter in setup.voters}
    if unknown or not votes:
        raise ValueError(f"layers of {sorted(unknown)} in a fusion of {[v.source for v in setup.voters]}")
    georef = votes[0].georef
    symbols = np.full((len(setup.voters), *georef.shape_yx), SILENT, dtype=np.int16)
    for position, (voter, table) in enumerate(zip(setup.voters, setup.tables(), strict=True)):
        vote = by_source.get(voter.source)
        if vote is None:
            continue
        if vote.georef != georef or vote.legend != voter.legend:
            raise ValueError(f"{vote.source}: {vote.legend} on {vote.georef}, expected {voter.legend} on {georef}")
        symbols[position] = table.symbol_of.take(vote.classes)
    return symbols


def fusion_notes(labels: Labels | None) -> list[str]:
    """What a person has to know of a fusion before it is made."""
    if labels is None or labels.fuse is None or labels.fuse.method != "dawid-skene":
        return []
    if any(source.kind not in CONTEXT_KINDS for source in labels.sources.values()):
        return []
    supposed = ", ".join(f"{name} {first_accuracy(source):g}" for name, source in labels.sources.items())
    return [
        f"labels.fuse: no land cover map beside {' and '.join(labels.sources)} tells how it errs: its classes stand, "
        f"and confidence is what is supposed of it ({supposed}; less of mixed codes and near borders; accuracy of the "
        f"source tells better)"
    ]
