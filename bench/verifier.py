"""How many planted errors the verifier finds, and how many true sentences it doubts: one row for every kind of error.

python bench/verifier.py [cases of each sort and kind]     writes bench/results/verifier.json, docs/verification.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.record import record
from bench.verifier_cases import KINDS, Case, cases, handwritten
from bench.verifier_chip import Chip

COUNT = 1000
FOUND, FALSE_ALARMS = 0.98, 0.01
PAGE = Path(__file__).parents[1] / "docs" / "verification.md"
BEGIN, END = "<!-- table of bench/verifier.py -->", "<!-- end -->"


def measure(kind: str, pairs: Iterable[tuple[Chip, Case]]) -> dict[str, Any]:
    """One row of the table: found, missed, doubted, passed, and which rules spoke."""
    rules: Counter[str] = Counter()
    tally = {(told, said): 0 for told in (True, False) for said in (True, False)}
    examples: dict[str, str] = {}
    for chip, case in pairs:
        found = judged(chip, case.text, case.facts)
        tally[case.is_true, bool(found)] += 1
        if not case.is_true:
            rules.update(sorted(found)[:1] if found else ())
        if case.is_true == bool(found):
            examples.setdefault("doubted" if case.is_true else "missed", case.text)
    errors, truths = tally[False, True] + tally[False, False], tally[True, True] + tally[True, False]
    return {
        "kind": kind,
        "errors": errors,
        "found": tally[False, True],
        "true": truths,
        "doubted": tally[True, True],
        "found_share": round(tally[False, True] / max(1, errors), 4),
        "false_alarms": round(tally[True, True] / max(1, truths), 4),
        "rules": dict(rules.most_common()),
        "examples": examples,
    }


def judged(chip: Chip, text: str, facts: tuple[str, ...]) -> set[str]:
    """Rules that a sentence breaks."""
    return {one.rule for one in chip.verifier.sentence(text, facts)}


def table(rows: list[dict[str, Any]]) -> str:
    """The confusion table as Markdown."""
    lines = [
        "| kind of error | errors | found | missed | true | doubted | found | false alarms | by which rules |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rules = ", ".join(f"{name} {count}" for name, count in list(row["rules"].items())[:3])
        lines.append(
            f"| {row['kind']} | {row['errors']} | {row['found']} | {row['errors'] - row['found']} | {row['true']} | "
            f"{row['doubted']} | {row['found_share']:.1%} | {row['false_alarms']:.1%} | {rules} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every kind, write the result and the page's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help="cases of each sort and kind")
    count = parser.parse_args().count
    rows = [measure(kind, cases(kind, count, first_seed=number * 1_000_000)) for number, kind in enumerate(KINDS)]
    rows.append(measure("written by hand", handwritten()))
    total = {name: sum(row[name] for row in rows) for name in ("errors", "found", "true", "doubted")}
    share, alarms = total["found"] / total["errors"], total["doubted"] / total["true"]
    worst = min(row["found_share"] for row in rows), max(row["false_alarms"] for row in rows)
    holds = worst[0] >= FOUND and worst[1] <= FALSE_ALARMS
    text = table([*rows, {"kind": "**all**", "found_share": share, "false_alarms": alarms, "rules": {}, **total}])
    print(text)
    record(
        "verifier", figure=100 * worst[0], unit="% of planted errors found, in the worst kind", target=100 * FOUND,
        holds=holds, floor={"false_alarms_worst_kind_percent": round(100 * worst[1], 3), "at_most": 100 * FALSE_ALARMS},
        rows=rows, packages=("numpy",), further={"found": round(share, 5), "false_alarms": round(alarms, 5)},
    )  # fmt: skip
    if PAGE.exists():
        page = PAGE.read_text(encoding="utf-8")
        begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(f"{page[:begin]}\n{text}\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
