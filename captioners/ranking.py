"""Ranking texts by how well they fit their pictures, with any CLIP-like model that the user has.

Ranks within a batch count, not absolute similarities: these differ from model to model. Long texts are cut into
sentences, since such models read some 77 tokens; a text is the mean of its sentences. A model of photographs can
judge true colour alone, not radar or index pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserError


class Scorer(Protocol):
    """A model that puts pictures and texts into one space."""

    def embed_pictures(self, pngs: Sequence[bytes]) -> NDArray[Any]:
        """(N, D) vectors of PNGs."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[Any]:
        """(N, D) vectors of short texts."""
        ...


@dataclass(frozen=True)
class Ranking:
    """How texts fit their pictures."""

    similarity: NDArray[np.float64]
    """(N,) cosine of each pair."""
    rank: NDArray[np.int64]
    """(N,) how many other texts fit the picture better; 0 is best."""
    recall_at_1: float
    """Part of pictures whose own text is the best."""
    auc: float
    """Chance that a pair fits better than a picture with another's text: 0.5 is none."""

    def best(self, part: float) -> NDArray[np.int64]:
        """Numbers of the pairs in the best part 0..1 by similarity, in their order."""
        count = max(1, round(part * len(self.similarity)))
        order = np.argsort(-self.similarity, kind="stable")[:count]
        return np.sort(order).astype(np.int64)


def load_scorer(target: str) -> Scorer:
    """The object ``module:name``; a class is called without arguments.

    Raises:
        UserError: there is no such thing.
    """
    module, _, name = target.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"no scorer {target!r}: {error}", mend="module:name of an object with embed_pictures"
        ) from error
    return cast(Scorer, found() if isinstance(found, type) else found)


def rank_texts(scorer: Scorer, pngs: Sequence[bytes], texts: Sequence[str]) -> Ranking:
    """Rank each text among all for its own picture.

    Args:
        scorer: the model.
        pngs: (N,) pictures.
        texts: (N,) their texts.

    Raises:
        ValueError: counts differ, or there are fewer than two pairs.
    """
    if len(pngs) != len(texts) or len(pngs) < 2:
        raise ValueError(f"{len(pngs)} pictures and {len(texts)} texts make no ranking")
    sentences = [re.split(r"(?<=[.!])\s+", text.strip()) for text in texts]
    flat = _unit(scorer.embed_texts([one for each in sentences for one in each]))
    ends = np.cumsum([len(each) for each in sentences])
    means = _unit(np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])]))
    cosine = _unit(scorer.embed_pictures(pngs)) @ means.T  # (N, N)
    own = np.diag(cosine)
    others = ~np.eye(len(own), dtype=bool)
    better = (cosine > own[:, None]) & others
    ties = (cosine == own[:, None]) & others
    auc = 1.0 - (better.sum() + 0.5 * ties.sum()) / others.sum()
    rank = better.sum(axis=1).astype(np.int64)
    return Ranking(np.array(own, dtype=np.float64), rank, float((rank == 0).mean()), float(auc))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of length 1."""
    rows = np.asarray(vectors, dtype=np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
