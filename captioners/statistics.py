"""Measures over all texts of a dataset: counts, verification, lengths, diversity, duplicates, balance of answers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from schemas.text import TextRecord

WORD = re.compile(r"[A-Za-zÀ-ÿ]+(?:[-'][A-Za-zÀ-ÿ]+)*|\d+(?:[.,]\d+)*%?")
NEAR, PERMUTATIONS, NEAR_SAMPLE = 0.8, 128, 20_000
"""Jaccard similarity from which texts count as near duplicates, hashes per text, and texts compared."""
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
        "verification_rates": {
            name: round(count / max(1, len(rows)), 4)
            for name, count in _counts(row.verification for row in rows).items()
        },
        "hallucination": hallucination(rows),
        "recall_over_5_percent": recall(rows),
        "captions": {
            style: caption_statistics([row.text for row in captions if row.style == style])
            for style in sorted({row.style for row in captions})
        },
        "questions": question_statistics([row for row in rows if row.kind == "qa"]),
        "pointing": {
            "texts": sum(bool(row.geometries) for row in rows),
            "targets": sum(len(row.geometries) for row in rows) // 3,
            "empty": sum(row.empty_target for row in rows),
        },
    }


def hallucination(rows: Sequence[TextRecord]) -> dict[str, Any]:
    """How often a model named what is not there, over all its rounds, before anything was repaired or dropped.

    After Rohrbach et al. 2018 (CHAIR): per mention, and per caption with at least one. Zeros where no model wrote.
    """
    judged = [row for row in rows if row.kind != "qa" and "mentions" in row.checks]
    mentions = sum(int(row.checks["mentions"]) for row in judged)
    found = [row.checks.get("violations") or {} for row in judged]
    invented = sum(int(one.get("class", 0)) for one in found)
    return {
        "texts": len(judged),
        "mentions": mentions,
        "invented": invented,
        "per_mention": round(invented / max(1, mentions), 4),
        "per_caption": round(sum(bool(one.get("class")) for one in found) / max(1, len(judged)), 4),
        "number_errors": sum(int(one.get("number", 0)) for one in found),
        "place_errors": sum(int(one.get("place", 0)) for one in found),
    }


def recall(rows: Sequence[TextRecord]) -> dict[str, float]:
    """Style of a caption -> share of the classes over 5 % of their chips that its texts name: silence is no virtue."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        if row.kind == "caption" and "over_5_percent" in row.checks:
            named, over = row.checks["over_5_percent"]
            total = counts.setdefault(row.style, [0, 0])
            total[0], total[1] = total[0] + int(named), total[1] + int(over)
    return {style: round(named / max(1, over), 4) for style, (named, over) in sorted(counts.items())}


def question_statistics(rows: Sequence[TextRecord]) -> dict[str, Any]:
    """Style of a question -> count, how often the commonest answer is right, and a guess from the question alone.

    ``blind``: every question is answered with what the same words were answered on other chips (the commonest answer
    of the style where they stand nowhere else). ``positions``: where the right option stands.
    """
    found = {}
    for style in sorted({row.style for row in rows}):
        mine = [row for row in rows if row.style == style]
        answers = Counter(row.answer for row in mine)
        by_words: dict[str, Counter[str]] = {}
        for row in mine:
            by_words.setdefault(row.question, Counter())[row.answer] += 1
        common = sorted(answers.items(), key=lambda item: (-item[1], item[0]))
        hits = 0
        for row in mine:
            others = by_words[row.question] - Counter([row.answer])
            guess = min(others, key=lambda a: (-others[a], a)) if others else common[0][0]
            hits += guess == row.answer
        choices = [row for row in mine if row.options]
        found[style] = {
            "count": len(mine),
            "majority": round(common[0][1] / len(mine), 4),
            "blind": round(hits / len(mine), 4),
            "answers": dict(common[:10]),
        }
        if choices:
            found[style]["positions"] = _counts(str(row.options.index(row.answer) + 1) for row in choices)
    return found


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
        "near_duplicates": near_duplicates(tokens),
        "most_common": normal.most_common(1)[0][1],
    }


def near_duplicates(tokens: Sequence[Sequence[str]]) -> float:
    """Part 0..1 of the first `NEAR_SAMPLE` texts that share at least 0.8 of their word pairs with an earlier one.

    By MinHash over pairs of words: longer shingles find nothing in texts of a dozen words.
    """
    from datasketch import MinHash, MinHashLSH

    sample = tokens[:NEAR_SAMPLE]
    lsh = MinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS)
    base = MinHash(num_perm=PERMUTATIONS, seed=1)
    near = 0
    for number, one in enumerate(sample):
        pairs = {" ".join(pair).encode() for pair in pairwise(one)} or {" ".join(one).encode()}
        print_ = base.copy()
        print_.update_batch(sorted(pairs))
        near += bool(lsh.query(print_))
        lsh.insert(str(number), print_)
    return round(near / max(1, len(sample)), 4)


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
