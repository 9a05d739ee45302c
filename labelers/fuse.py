"""Several label layers become one: count per chip, estimate once, apply per chip.

    statistics(votes, setup)   per chip: exact integer counts of what the sources say together
    stats + stats              anywhere, in any order: the same sum
    estimate(stats, setup)     once for the dataset
    fused_layer(model, votes)  per chip: class indices and confidence

``priority``: the strongest source decides; where it admits several classes the next ones narrow them down.
``vote``: each source divides its weight among the classes that its code admits. ``dawid-skene``: the
posterior under confusion matrices that were estimated from the counts (`labelers.dawid_skene`). A source
without data at a pixel says nothing there. Confidence is lower where classes meet, and a pixel below the
setup's threshold abstains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.confusion import Disagreement, disagreements
from labelers.dawid_skene import estimate_model
from labelers.estimate import Estimate, posterior_of
from labelers.marks import FusionStatistics, distinct, mark_sizes, near_step, symbols_of_marks, to_marks, unpacked
from labelers.voters import SILENT, FusionSetup, Voter
from schemas.labels import LabelLayer
from schemas.legend import load_legend

ABSTAINED = 255
"""Class index of a pixel that abstains."""

EDGE_FACTOR = 0.8
"""Confidence of ``priority`` and ``vote`` is multiplied by it where the fused class changes (a judgement; in
``dawid-skene`` the effect of edges is estimated)."""


@dataclass(frozen=True, eq=False)
class FusionModel:
    """What `apply` needs, and what the dataset says about how it was fused."""

    setup: FusionSetup
    """What was decided beforehand."""
    estimate: Estimate | None
    """What was estimated (``dawid-skene``), else None."""
    disagreement: tuple[Disagreement, ...]
    """Of each pair of sources."""
    pixels: int
    """Pixels at which at least one source spoke."""

    def to_dict(self) -> dict[str, Any]:
        """The whole model as JSON values; `from_dict` gives an equal one."""
        return {
            "setup": asdict(self.setup),
            "estimate": self.estimate.to_dict() if self.estimate else None,
            "disagreement": [pair.to_dict() for pair in self.disagreement],
            "pixels": self.pixels,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FusionModel:
        """The model that `to_dict` wrote."""
        setup = dict(data["setup"])
        setup["voters"] = tuple(Voter(**voter) for voter in setup["voters"])
        setup["order"] = tuple(setup["order"])
        return cls(
            setup=FusionSetup(**setup),
            estimate=Estimate.from_dict(data["estimate"]) if data["estimate"] else None,
            disagreement=tuple(Disagreement.from_dict(pair) for pair in data["disagreement"]),
            pixels=data["pixels"],
        )

    def summary(self) -> dict[str, Any]:
        """For ``dataset.json`` and the report: methods, sources, class shares, confusion per source,
        disagreement.
        """
        legend = load_legend(self.setup.target)
        found: dict[str, Any] = {
            "method": self.setup.method,
            "legend": self.setup.target,
            "sources": [asdict(voter) for voter in self.setup.voters],
            "priority": list(self.setup.order),
            "abstain_below": self.setup.abstain_below,
            "pixels": self.pixels,
            "disagreement": [pair.to_dict() | {"share": pair.share} for pair in self.disagreement],
        }
        if self.estimate:
            found |= self.estimate.summary(self.setup, [entry.name for entry in legend.classes])
        return found


def statistics(votes: Sequence[LabelLayer], setup: FusionSetup, region: str = "") -> FusionStatistics:
    """How often the sources say what together, over one chip.

    Args:
        votes: layers of the chip on one grid; a source that does not cover it may be missing.
        setup: who votes.
        region: class shares are estimated for each region apart.

    Returns:
        Exact counts: adding those of all chips gives the same in any order, on any number of workers.

    Raises:
        ValueError: votes that do not fit together or into the setup.
    """
    names, sizes = tuple(voter.source for voter in setup.voters), mark_sizes(setup)
    if not votes:
        return FusionStatistics(names, sizes, {})
    keys, inverse = distinct(to_marks(votes, setup), sizes)
    spoken = (unpacked(keys, sizes)[:, :-1] != SILENT).any(axis=1)
    counts = np.bincount(inverse, minlength=len(keys)).astype(np.int64)
    return FusionStatistics(names, sizes, {region: (keys[spoken], counts[spoken])} if spoken.any() else {})


def estimate(stats: FusionStatistics, setup: FusionSetup) -> FusionModel:
    """The model of a dataset from the sum of its chips' statistics; the same statistics give the same model.

    Raises:
        ValueError: the statistics are of other sources.
    """
    if stats.sources != tuple(voter.source for voter in setup.voters):
        raise ValueError(f"statistics of {stats.sources}, setup of {[v.source for v in setup.voters]}")
    found = estimate_model(stats, setup) if setup.method == "dawid-skene" and stats.regions else None
    return FusionModel(setup, found, disagreements(stats, setup), stats.pixels)


def fused_layer(model: FusionModel, votes: Sequence[LabelLayer], region: str = "") -> LabelLayer:
    """`apply` as a `LabelLayer`: share-alike as soon as one vote is, its licence then that vote's."""
    classes, confidence = apply(model, votes, region)
    binding = [vote.licence for vote in votes if vote.share_alike]
    return LabelLayer(
        source="fused",
        classes=classes,
        georef=votes[0].georef,
        nodata=ABSTAINED,
        legend=model.setup.target,
        vintage="+".join(f"{vote.source} {vote.vintage}" for vote in votes if vote.vintage),
        licence="+".join(dict.fromkeys(binding or [vote.licence for vote in votes if vote.licence])),
        confidence=confidence,
        share_alike=bool(binding),
    )


def apply(
    model: FusionModel, votes: Sequence[LabelLayer], region: str = ""
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Fused classes and confidence of one chip.

    Args:
        model: estimated over the dataset.
        votes: layers of the chip on one grid, at least one.
        region: whose class shares hold; those of the whole dataset where it is unknown.

    Returns:
        (H, W) uint8 class index of the target legend, 255 where the pixel abstains; (H, W) uint8 confidence,
        0..255 for 0..1, kept where the pixel abstains and 0 where no source speaks.

    Raises:
        ValueError: no votes, or votes that do not fit together.
    """
    setup, sizes = model.setup, mark_sizes(model.setup)
    marks = to_marks(votes, setup)
    keys, inverse = distinct(marks, sizes)
    rows = unpacked(keys, sizes)
    score = _scores(model, rows, region)
    silent = (rows[:, :-1] == SILENT).all(axis=1)
    score[silent] = 0.0
    classes, confidence = score.argmax(axis=1).astype(np.uint8), score.max(axis=1)

    def of_pixels(of_rows: NDArray[Any]) -> NDArray[Any]:
        return of_rows.take(inverse).reshape(marks.shape[1:])

    if model.estimate is not None:  # equal marks, equal answers
        told, confidence_255 = _told(classes, confidence, silent, setup)
        return of_pixels(told), of_pixels(confidence_255)
    classes, confidence, silent = of_pixels(classes), of_pixels(confidence), of_pixels(silent)
    uncertain = _is_edge(classes, silent) | _near_steps(marks, setup, votes[0].georef.pixel_size)
    return _told(classes, np.where(uncertain, EDGE_FACTOR * confidence, confidence), silent, setup)


def _told(
    classes: NDArray[np.uint8], confidence: NDArray[np.float64], silent: NDArray[np.bool_], setup: FusionSetup
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The classes, `ABSTAINED` where confidence (0..1) is too low or nobody speaks, and confidence as 0..255."""
    abstains = (confidence < setup.abstain_below) | silent
    told = np.where(abstains, np.uint8(ABSTAINED), classes)
    return told, np.round(np.clip(confidence, 0.0, 1.0) * 255).astype(np.uint8)


def _scores(model: FusionModel, rows: NDArray[np.int64], region: str) -> NDArray[np.float64]:
    """(rows, classes) how much speaks for each class, 0..1."""
    if model.estimate is not None:
        return posterior_of(model.estimate, model.setup, rows, region)
    symbols = symbols_of_marks(rows, model.setup)
    if model.setup.method == "priority":
        return _by_priority(model.setup, symbols)
    return _by_vote(model.setup, symbols)


def _by_vote(setup: FusionSetup, symbols: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the weight of the speaking sources that falls on each class."""
    total = np.zeros(len(symbols))
    score = np.zeros((len(symbols), len(load_legend(setup.target).classes)))
    for position, (voter, table) in enumerate(zip(setup.voters, setup.tables(), strict=True)):
        speaks = symbols[:, position] != SILENT
        score[speaks] += voter.weight * voter.freshness * table.shares[symbols[speaks, position]]
        total[speaks] += voter.weight
    share: NDArray[np.float64] = score / np.maximum(total, 1e-12)[:, None]
    return share


def _by_priority(setup: FusionSetup, symbols: NDArray[np.int64]) -> NDArray[np.float64]:
    """The strongest speaking source's accuracy, divided among the classes that the weaker ones leave of its
    own.
    """
    names = [voter.source for voter in setup.voters]
    tables = setup.tables()
    kept = np.zeros((len(symbols), len(load_legend(setup.target).classes)))
    accuracy = np.zeros(len(symbols))
    for name in setup.order:
        position = names.index(name)
        speaks = symbols[:, position] != SILENT
        shares = np.zeros_like(kept)
        shares[speaks] = tables[position].shares[symbols[speaks, position]]
        first = speaks & (accuracy == 0)
        narrowed = np.where(shares > 0, kept, 0.0)
        later = speaks & ~first & (narrowed.sum(axis=1) > 0)
        kept = np.where(first[:, None], shares, np.where(later[:, None], narrowed, kept))
        voter = setup.voters[position]
        accuracy = np.where(first, voter.accuracy * voter.freshness, accuracy)
    share: NDArray[np.float64] = accuracy[:, None] * kept / np.maximum(kept.sum(axis=1), 1e-12)[:, None]
    return share


def _near_steps(marks: NDArray[np.int64], setup: FusionSetup, pixel_m: float) -> NDArray[np.bool_]:
    """(H, W) whether a source that is coarser than the grid changes its class within half its own pixel."""
    symbols = symbols_of_marks(marks.reshape(len(marks), -1).T, setup).T.reshape(-1, *marks.shape[1:])
    near = np.zeros(marks.shape[1:], dtype=bool)
    for voter, said in zip(setup.voters, symbols, strict=True):
        near |= near_step(said, voter.gsd_m, pixel_m)
    return near


def _is_edge(label: NDArray[np.uint8], silent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) whether a pixel's class differs from that of one of its four neighbours in the chip. Where nobody speaks
    there is no class, and no edge.
    """
    edge = np.zeros(label.shape, dtype=bool)
    across = (label[:, 1:] != label[:, :-1]) & ~silent[:, 1:] & ~silent[:, :-1]
    down = (label[1:] != label[:-1]) & ~silent[1:] & ~silent[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge
