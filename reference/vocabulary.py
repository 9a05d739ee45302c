"""Byte-pair vocabulary, learned from the captions that a model trains on and from no others.

Sennrich, Haddow and Birch (2016), "Neural machine translation of rare words with subword units".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

PAD, BEGIN, UNKNOWN = 0, 1, 2
SPECIAL = ("<pad>", "<begin>", "<unknown>")
WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
END = "</w>"


def words_of(text: str) -> list[str]:
    """Words in lower case, digits one by one, signs one by one.

    >>> words_of("Cropland covers 62 %.")
    ['cropland', 'covers', '6', '2', '%', '.']
    """
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Merges in the order in which they were learned."""

    symbols: tuple[str, ...]
    """Symbol of each id; the first three are special."""
    merges: tuple[tuple[str, str], ...]
    """Pairs, the most frequent first."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _ranks: dict[tuple[str, str], int] = field(init=False, repr=False, compare=False)
    _known: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", {symbol: i for i, symbol in enumerate(self.symbols)})
        object.__setattr__(self, "_ranks", {pair: i for i, pair in enumerate(self.merges)})
        object.__setattr__(self, "_known", {})

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str, most: int = 96) -> list[int]:
        """Ids, beginning with `BEGIN`, at most ``most``."""
        ids = [BEGIN]
        for word in words_of(text):
            ids += self._word(word)
        return ids[:most]

    def _word(self, word: str) -> tuple[int, ...]:
        if word not in self._known:
            parts = [*word[:-1], word[-1] + END]
            while len(parts) > 1:
                pairs = list(pairwise(parts))
                best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                parts = _merged(parts, best)
            self._known[word] = tuple(self._ids.get(part, UNKNOWN) for part in parts)
        return self._known[word]


def learn_vocabulary(texts: Iterable[str], size: int = 512) -> Vocabulary:
    """The vocabulary of some texts: their letters, then the most frequent pairs until there are ``size`` symbols.

    Of pairs that are equally frequent the first in the alphabet is taken, so the same texts give the same vocabulary.

    >>> v = learn_vocabulary(["low lower lowest"] * 3, 20)
    >>> v.encode("low")[1:] == [v.symbols.index("low</w>")]
    True
    """
    counts = Counter(word for text in texts for word in words_of(text))
    words = {word: [*word[:-1], word[-1] + END] for word in sorted(counts)}
    letters = sorted({part for parts in words.values() for part in parts})
    symbols, merges = [*SPECIAL, *letters], []
    while len(symbols) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in words.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        symbols.append("".join(best))
        words = {word: _merged(parts, best) for word, parts in words.items()}
    return Vocabulary(tuple(dict.fromkeys(symbols)), tuple(merges))


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """The parts with every occurrence of a pair made one, from the left."""
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
