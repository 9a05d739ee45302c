"""Tables of results: any row of the targets becomes one, whatever its rows report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.tables import BEGIN, END, results, with_tables

PAGE = f"# Before\n{BEGIN}of another day\n{END}after\n"


def result(name: str, rows: list[dict[str, object]], holds: bool | None = True, **further: object) -> dict[str, object]:
    return {"id": name, "figure": 1.5, "unit": "x", "target": 2, "holds": holds, "rows": rows, **further}


def test_results_come_in_the_order_of_their_numbers_and_others_are_left_out(tmp_path: Path) -> None:
    for name in ("P10", "P2", "TRUTH"):
        (tmp_path / f"{name.lower()}.json").write_text(json.dumps(result(name, [])))
    (tmp_path / "demo.json").write_text('{"command": "make demo"}')
    assert [found["id"] for found in results(tmp_path)] == ["P2", "P10", "TRUTH"]


def test_rows_that_report_different_things_have_tables_of_their_own() -> None:
    page = with_tables(PAGE, [result("P1", [{"case": "dense", "seconds": 1}, {"peer": "script"}, {"case": "sparse"}])])
    assert [line for line in page.splitlines() if line.startswith(("| case", "| peer"))] == [
        "| case | seconds |",
        "| peer |",
        "| case |",
    ]


def test_what_does_not_hold_says_so() -> None:
    page = with_tables(PAGE, [result("P0", [], holds=False), result("P1", [], holds=None)])
    assert "| P0 | 1.5 | x | 2 | **no** |" in page
    assert "| P1 | 1.5 | x | 2 | not proven |" in page


def test_what_stands_around_the_tables_stays() -> None:
    page = with_tables(PAGE, [result("P0", [], share_of_script={"tar": 0.9})])
    assert page.startswith(f"# Before\n{BEGIN}")
    assert page.endswith(f"{END}after\n")
    assert "another day" not in page
    assert "- share of script: tar 0.9" in page
    assert with_tables(page, [result("P0", [], share_of_script={"tar": 0.9})]) == page


def test_a_page_without_markers_is_one_line() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        with_tables("# Page\n", [])
