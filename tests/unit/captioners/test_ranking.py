from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from captioners.ranking import Scorer, load_scorer, rank_texts
from schemas.errors import UserError

WORDS = ("red", "green", "blue")


class ColourScorer:
    """A tiny model: the mean colour of a picture, and the colours that a text names."""

    def embed_pictures(self, pngs: Sequence[bytes]) -> np.ndarray:
        return np.stack([np.asarray(Image.open(io.BytesIO(png)), dtype=float).mean(axis=(0, 1)) for png in pngs])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(re.findall(word, text)) + 0.01 for word in WORDS] for text in texts])


def plain(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(out, "PNG")
    return out.getvalue()


PICTURES = [plain(colour) for colour in ((200, 10, 10), (10, 200, 10), (10, 10, 200))]


def test_texts_that_fit_rank_first_and_swapped_ones_do_not() -> None:
    scorer: Scorer = ColourScorer()
    texts = ["All red. Nothing else.", "A green field.", "Deep blue water. Very blue."]
    fitting = rank_texts(scorer, PICTURES, texts)
    assert fitting.recall_at_1 == 1.0
    assert fitting.auc == 1.0
    assert list(fitting.rank) == [0, 0, 0]
    swapped = rank_texts(scorer, PICTURES, texts[1:] + texts[:1])
    assert swapped.recall_at_1 == 0.0
    assert swapped.auc < 0.6
    assert (swapped.similarity < fitting.similarity).all()
    mixed = rank_texts(scorer, PICTURES, [texts[0], texts[2], texts[2]])
    assert list(mixed.best(2 / 3)) == [0, 2]


def test_the_same_text_everywhere_ranks_no_better_than_chance() -> None:
    assert rank_texts(ColourScorer(), PICTURES, ["red green blue"] * 3).auc == 0.5


def test_counts_must_agree_and_a_missing_scorer_is_named() -> None:
    with pytest.raises(ValueError, match="3 pictures and 1 texts"):
        rank_texts(ColourScorer(), PICTURES, ["red"])
    with pytest.raises(UserError, match="no scorer 'nowhere:Model'"):
        load_scorer("nowhere:Model")
    assert load_scorer("collections:OrderedDict") is not None
