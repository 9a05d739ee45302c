"""What a run's texts cost, from the ledger and the records: nothing that was paid is left out of the sum.

A chip's cost is all that was spent on its attempts: the answer that was used, answers that were read and replaced
(repairs, rubbish), calls in doubt at their worst price. It is shared out over the chip's texts by their length, so that
the kinds' costs sum to the whole, the probe of the server aside.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from captioners.ledger import NANO, Attempt, totals


def cost_report(attempts: Iterable[Attempt], texts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Costs of a run in all, by fate, by kind and per 1,000 texts.

    ``chips`` has them chip by chip; the empty id stands for what belongs to none, the probe of a server.

    Args:
        attempts: the ledger's, of this run's purse.
        texts: records of the run as plain dictionaries: chip_id, kind, style, text, backend, request_key, checks.
    """
    rows, records = list(attempts), list(texts)
    used = {one["request_key"] for one in records if one["backend"] != "template" and one["request_key"]}
    fates: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    chips: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in rows:
        fate = _fate(one, used)
        fates[fate] += one.cost_nano
        counts[fate] += 1
        for place, value in enumerate((1, one.tokens_in, one.tokens_out, one.cost_nano)):
            chips[one.subject][place] += value
    whole = totals(rows)
    by_model = sum(one["backend"] != "template" for one in records)
    return {
        "calls": len(rows),
        "attempts": whole["attempts"],
        "tokens_in": whole["tokens_in"],
        "tokens_cached": sum(one.tokens_cached for one in rows),
        "tokens_out": whole["tokens_out"],
        "cost": whole["cost"],
        "cost_by_fate": {fate: {"calls": counts[fate], "cost": fates[fate] / NANO} for fate in sorted(counts)},
        "written": {"texts": len(records), "by_model": by_model, "by_template": len(records) - by_model},
        "fallbacks": dict(sorted(Counter(_reason(one) for one in records if one["backend"] == "template").items())),
        "per_1000": _per_1000(whole["cost"], len(records)),
        "kinds": _kinds(records, {chip: values[3] for chip, values in chips.items()}),
        "chips": {
            chip: {"calls": calls, "tokens_in": tokens_in, "tokens_out": tokens_out, "cost": nano / NANO}
            for chip, (calls, tokens_in, tokens_out, nano) in sorted(chips.items())
        },
    }


def _reason(one: Mapping[str, Any]) -> str:
    """Why the template wrote a text."""
    return str((one.get("checks") or {}).get("fallback") or "unsaid")


def _fate(one: Attempt, used: set[str]) -> str:
    """used, replaced (an answer of which no word is left), refused, in doubt, in flight, or probe."""
    if one.purpose == "probe":
        return "probe"
    if one.state == "answered":
        return "used" if one.key in used else "replaced"
    return {"refused": "refused", "doubt": "in doubt"}.get(one.state, "in flight")


def _kinds(records: list[Mapping[str, Any]], nano: Mapping[str, int]) -> dict[str, Any]:
    """Kind -> texts, those by a model, cost and cost per 1,000."""
    lengths: Counter[str] = Counter()
    for one in records:
        lengths[one["chip_id"]] += max(1, len(one["text"]))
    out: dict[str, dict[str, Any]] = {}
    for one in records:
        name = f"{one['kind']}/{one['style']}" if one["kind"] == "caption" else str(one["kind"])
        kind = out.setdefault(name, {"texts": 0, "by_model": 0, "cost": 0.0})
        kind["texts"] += 1
        kind["by_model"] += one["backend"] != "template"
        share = max(1, len(one["text"])) / lengths[one["chip_id"]]
        kind["cost"] += nano.get(one["chip_id"], 0) * share / NANO
    return {
        name: {**kind, "cost": round(kind["cost"], 9), "per_1000": _per_1000(kind["cost"], kind["texts"])}
        for name, kind in sorted(out.items())
    }


def _per_1000(cost: float, count: int) -> float:
    return round(1000.0 * cost / count, 6) if count else 0.0
