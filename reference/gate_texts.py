"""Gate *texts*: captions find their pictures among the held-out chips, and pictures their captions.

Control: the same training with the captions exchanged among the training chips, none getting the same words again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reference.evaluate import batches
from reference.findings import Figure, Finding, Series, not_here, rounded
from reference.lessons import ChipSource
from reference.model import SHARED_WIDTH, ReferenceModel
from reference.spoilt import Exchanged, deranged
from reference.study import Study, is_seen

RANKS = (1, 5, 10)
DECIDES = 5
"""The rank that decides; the first where chance alone finds more than half at this one (few chips, or few words)."""

MOST_ASKED = 50
"""Held-out chips that are told apart; of more, so many are drawn. To be among the best 5 of 1,000 asks far more than of
23, on which the threshold was found: vectors that come 51 % of the way there come 6 % of it with 1,000 chips.
"""

MOST_LUCK = 0.05
"""A model that knows nothing may pass so often: of few chips more is asked than the recipe does, until it does not."""
DRAWS = 2000
"""Models that know nothing, to tell how often one passes."""
MOST_DRAWN = 4_000_000
"""Pairs of all draws together: of many chips there are fewer draws, and chance hardly varies."""


def texts(study: Study) -> Finding:
    """Recall at 1, 5 and 10, both ways, against chance and against a model of exchanged captions."""
    if not study.has_captions():
        return not_here("texts", "the dataset has no captions")
    rule, chips = study.gates.texts, study.chips
    captioned = [one for one in study.split.held_out if chips[one].captions and is_seen(chips[one])]
    held = asked_of(captioned, study.training.seed)
    if len(held) <= DECIDES:
        return not_here("texts", f"{len(held)} held-out chips with captions and clear pixels are too few")
    told = [chip_id for chip_id in study.split.train if chips[chip_id].captions]
    if len(told) < 2:
        return not_here("texts", "one training chip with captions has none to exchange them with")
    same = same_words([chips[chip_id].captions for chip_id in held])
    luck = gains_by_chance(same)
    asked = least_gain(luck, rule.min_gain)
    if asked is None or gain(same.astype(float), same) < asked:
        return not_here(
            "texts", f"the words of {len(held)} held-out chips tell too few of them apart to prove anything"
        )
    measured = retrieval(study.model, chips, held)
    measured["passes_by_chance"] = rounded(float(np.mean(luck >= asked)), 3)
    exchanged = Exchanged(chips, partners(chips, told, study.training.seed), captions=True)
    control = retrieval(study.train(exchanged, study.split.train, study.with_texts), chips, held)

    def passes(found: Mapping[str, Any]) -> bool:
        return bool(found["gain"] >= asked)

    of_more = f" drawn of {len(captioned)}" if len(captioned) > len(held) else ""
    said = (
        f"of {len(held)} chips{of_more}, recall at {DECIDES}: "
        f"caption to picture {measured[f'text_to_picture_{DECIDES}']:.2f}, "
        f"picture to caption {measured[f'picture_to_text_{DECIDES}']:.2f}; chance {measured[f'chance_{DECIDES}']:.2f}, "
        f"exchanged captions {control[f'text_to_picture_{DECIDES}']:.2f} and "
        f"{control[f'picture_to_text_{DECIDES}']:.2f}: {measured['gain']:.0%} of the way from chance to perfect, "
        f"of which {asked:.0%} are asked; a model that knows nothing would pass in "
        f"{measured['passes_by_chance']:.1%} of all cases"
    )
    return Finding(
        "texts",
        passes(measured),
        said,
        measured,
        {"min_gain": asked},
        "trained with captions exchanged among the chips",
        control,
        not passes(control),
        figures=(_figure(measured, control),),
    )


def asked_of(chip_ids: Sequence[str], seed: int) -> list[str]:
    """At most `MOST_ASKED` of the chips, in their order."""
    luck = np.random.Generator(np.random.PCG64(seed))
    return [chip_ids[i] for i in np.sort(luck.permutation(len(chip_ids))[:MOST_ASKED])]


def partners(chips: ChipSource, chip_ids: Sequence[str], seed: int) -> dict[str, str]:
    """Chip -> the one whose captions it gets: with other words wherever no words are those of more than half of them.

    Parts of few chips share their captions; exchanged blindly, a third of three chips' parts would keep theirs.
    Where all have words of their own, this is `deranged`.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for chip_id in deranged(chip_ids, seed):  # in an order that is drawn
        groups.setdefault(chips[chip_id].captions, []).append(chip_id)
    ordered = [chip_id for group in groups.values() for chip_id in group]
    most = max(len(group) for group in groups.values())
    return {one: ordered[place - most] for place, one in enumerate(ordered)}


@torch.no_grad()
def retrieval(model: ReferenceModel, chips: ChipSource, chip_ids: Sequence[str]) -> dict[str, float]:
    """Recall at `RANKS` both ways, and that of chance. Chips with the same words are all right answers to them."""
    if model.text is None:
        raise ValueError("a model without a text tower")
    model.eval()
    images, words, captions = [], [], [chips[chip_id].captions for chip_id in chip_ids]
    for batch in batches(chips, chip_ids):
        images.append(model(batch).image)
    for said in captions:
        vector = model.text(list(said)).mean(0)
        words.append(vector / vector.norm())
    scores = (torch.stack(words) @ torch.cat(images).T).numpy()  # (texts, pictures)
    same = same_words(captions)
    found = {f"text_to_picture_{k}": recall(scores, same, k) for k in RANKS}
    found |= {f"picture_to_text_{k}": recall(scores.T, same, k) for k in RANKS}
    found |= {f"chance_{k}": rounded(_chance(same, k)) for k in RANKS}
    return found | {"gain": rounded(gain(scores, same))}


def gain(scores: NDArray[Any], same: NDArray[np.bool_]) -> float:
    """Share of the way from chance to perfect, at the rank that decides, mean of both ways."""
    rank = DECIDES if _chance(same, DECIDES) <= 0.5 else 1
    chance = _chance(same, rank)
    both = 0.5 * (recall(scores, same, rank) + recall(scores.T, same, rank))
    return (both - chance) / max(1.0 - chance, 1e-6)


def same_words(captions: Sequence[tuple[str, ...]]) -> NDArray[np.bool_]:
    """(n, n) which chips are told in the same words."""
    numbers: dict[tuple[str, ...], int] = {}
    words = np.array([numbers.setdefault(said, len(numbers)) for said in captions])
    same: NDArray[np.bool_] = words[:, None] == words[None]
    return same


def gains_by_chance(same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Gains of vectors drawn at random, the lowest first."""
    luck, n = np.random.Generator(np.random.PCG64(len(same))), len(same)
    draws = max(1, min(DRAWS, MOST_DRAWN // n**2))
    drawn = (luck.standard_normal((2, n, SHARED_WIDTH)) for _ in range(draws))
    return np.sort([rounded(gain(texts @ pictures.T, same)) for texts, pictures in drawn])


def least_gain(luck: NDArray[np.float64], wanted: float) -> float | None:
    """The gain to ask: the recipe's, or the smallest that luck reaches no oftener than `MOST_LUCK`; None where luck
    reaches each that there is.

    >>> luck = np.sort([0.0] * 90 + [0.1] * 6 + [0.2] * 4)
    >>> least_gain(luck, 0.15), least_gain(luck, 0.05), least_gain(np.ones(3), 0.15)
    (0.15, 0.2, None)
    """
    possible = [wanted, *np.unique(luck[luck > wanted]).tolist()]
    return next((one for one in possible if np.mean(luck >= one) <= MOST_LUCK), None)


def recall(scores: NDArray[Any], right: NDArray[np.bool_], rank: int) -> float:
    """Share of rows of which a right column is among the ``rank`` best.

    >>> recall(np.array([[0.9, 0.1], [0.8, 0.2]]), np.eye(2, dtype=bool), 1)
    0.5
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :rank]
    return float(np.take_along_axis(right, best, axis=1).any(1).mean())


def _chance(right: NDArray[np.bool_], rank: int) -> float:
    """Of drawing ``rank`` columns without putting back: mean over rows of 1 - C(n - r, k) / C(n, k)."""
    n = right.shape[1]
    missed = np.ones(len(right))
    for drawn in range(min(rank, n)):
        missed *= np.clip(n - right.sum(1) - drawn, 0, None) / (n - drawn)
    return float((1.0 - missed).mean())


def _figure(measured: Mapping[str, float], control: Mapping[str, float]) -> Figure:
    x = tuple(float(k) for k in RANKS)
    ways = {
        "caption to picture": [measured[f"text_to_picture_{k}"] for k in RANKS],
        "picture to caption": [measured[f"picture_to_text_{k}"] for k in RANKS],
        "exchanged captions": [control[f"text_to_picture_{k}"] for k in RANKS],
        "chance": [measured[f"chance_{k}"] for k in RANKS],
    }
    series = tuple(Series(name, x, tuple(rounded(v) for v in values)) for name, values in ways.items())
    return Figure("Retrieval among the held-out chips", "line", "rank", "recall", (), series)
