"""Measures over all texts of a dataset: counts, verification, lengths, diversity, duplicates, balance of answers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.text import TextRecord

WORD = re.compile(r"[A-Za-zÀ-ÿ]+(?:[-'][A-Za-zÀ-ÿ]+)*|\d+(?:[.,]\d+)*%?")
BLEU_SAMPLE = 200
"""Captions compared with each other for self-BLEU: its cost grows with the square."""


def text_statistics(records: Iterable[TextRecord | Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics of text records, ready for JSON; the same whatever the order of the records.

    Args:
        records: `TextRecord`s or their plain dictionaries.
    """
    rows = sorted((r if isinstance(r, TextRecord) else TextRecord.model_validate(dict(r)) for r in records),
                  key=lambda r: r.text_id)  # fmt: skip
    captions = [row for row in rows if row.kind == "caption"]
    return {
        "count": len(rows),
        "chips": len({row.chip_id for row in rows}),
        "kinds": _counts(f"{row.kind}/{row.style}" for row in rows),
        "backends": _counts(row.backend for row in rows),
        "models": _counts(row.model for row in rows if row.model),
        "verification": _counts(row.verification for row in rows),
        "violations": _violations(rows),
        "captions": {
            style: caption_statistics([row.text for row in captions if row.style == style])
            for style in sorted({row.style for row in captions})
        },
        "answers": {
            style: _counts(row.answer for row in rows if row.kind == "qa" and row.style == style) for style in ("bool",)
        },
    }


def caption_statistics(texts: Sequence[str]) -> dict[str, Any]:
    """Length percentiles in words, share over 50 words, distinct-1/2, self-BLEU on a sample, duplicates."""
    tokens = [words(text) for text in texts]
    lengths = sorted(len(one) for one in tokens)
    if not lengths:
        return {"count": 0}
    normal = Counter(" ".join(one) for one in tokens)
    return {
        "count": len(texts),
        "words_p05": percentile(lengths, 5),
        "words_p50": percentile(lengths, 50),
        "words_p95": percentile(lengths, 95),
        "over_50_words": round(sum(length > 50 for length in lengths) / len(lengths), 4),
        "distinct_1": distinct(tokens, 1),
        "distinct_2": distinct(tokens, 2),
        "self_bleu": self_bleu(tokens[:: max(1, len(tokens) // BLEU_SAMPLE)][:BLEU_SAMPLE]),
        "duplicates": len(texts) - len(normal),
        "most_common": normal.most_common(1)[0][1],
    }


def words(text: str) -> list[str]:
    """Words and figures in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Nearest-rank percentile of values in rising order."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def distinct(tokens: Sequence[Sequence[str]], n: int) -> float:
    """Different n-grams over all n-grams, 0..1; falls with the size of the corpus by nature."""
    grams = Counter(gram for one in tokens for gram in zip(*(one[i:] for i in range(n)), strict=False))
    return round(len(grams) / max(1, grams.total()), 4)


def self_bleu(tokens: Sequence[Sequence[str]]) -> float:
    """Mean BLEU-4 of each text against all others, 0 (all different) .. 1 (all alike); add-one smoothing.

    Source: Zhu et al. 2018 (Texygen); n-gram precision after Papineni et al. 2002, closest reference length.
    """
    if len(tokens) < 2:
        return 0.0
    grams = [[Counter(zip(*(one[i:] for i in range(n)), strict=False)) for n in (1, 2, 3, 4)] for one in tokens]
    highest: list[dict[tuple[str, ...], tuple[int, int, int]]] = []  # gram -> best count, its owner, second best
    for n in range(4):
        table: dict[tuple[str, ...], tuple[int, int, int]] = {}
        for owner, row in enumerate(grams):
            for gram, count in row[n].items():
                best, who, second = table.get(gram, (0, -1, 0))
                table[gram] = (count, owner, best) if count > best else (best, who, max(second, count))
        highest.append(table)
    scores = []
    lengths = [len(one) for one in tokens]
    for owner, row in enumerate(grams):
        logs = 0.0
        for n in range(4):
            total = row[n].total()
            matched = 0
            for gram, count in row[n].items():
                best, who, second = highest[n][gram]
                matched += min(count, second if who == owner else best)
            logs += math.log((matched + 1) / (total + 1)) / 4
        others = lengths[:owner] + lengths[owner + 1 :]
        closest = min(others, key=lambda length: (abs(length - lengths[owner]), length))
        brevity = min(1.0, math.exp(1 - closest / lengths[owner])) if lengths[owner] else 0.0
        scores.append(brevity * math.exp(logs))
    return round(sum(scores) / len(scores), 4)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _violations(rows: Sequence[TextRecord]) -> dict[str, int]:
    """Rule -> number of violations found in model sentences, whether repaired or replaced."""
    total: Counter[str] = Counter()
    for row in rows:
        found = row.checks.get("violations")
        if isinstance(found, dict):
            total.update({str(rule): int(count) for rule, count in found.items()})
    return dict(sorted(total.items()))
