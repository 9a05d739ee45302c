"""Every leaf of an object is shown once, and objects of one kind stand in one table."""

from __future__ import annotations

from reports.blocks import blocks, leaves


def test_leaves_name_every_value_once() -> None:
    value = {"a": {"b": 1, "c": [1.5, 2]}, "d": [{"e": None}, {"e": True}]}
    assert leaves(value) == [("a.b", "1"), ("a.c", "1.5, 2"), ("d[0].e", "–"), ("d[1].e", "yes")]


def test_objects_of_one_kind_become_one_table() -> None:
    leakage = {"val": {"chips": 5, "pairs": 0}, "test": {"chips": 4, "pairs": 1}}
    (block,) = blocks(leakage)
    assert block.columns == ("", "chips", "pairs")
    assert block.rows == (("val", "5", "0"), ("test", "4", "1"))


def test_blocks_show_every_leaf_of_an_object() -> None:
    value = {
        "method": "vote",
        "order": ["a", "b"],
        "sources": [{"name": "a", "weight": 1.5}, {"name": "b", "note": "weak"}],
        "confusion": {"a": [[1, 2], [3, 4]]},
        "empty": {},
    }
    plain, sources, confusion = blocks(value)
    assert plain.rows == (("method", "vote"), ("order", "a, b"))
    assert (sources.title, sources.columns) == ("sources", ("name", "weight", "note"))
    assert sources.rows == (("a", "1.5", ""), ("b", "", "weak"))
    assert (confusion.title, confusion.rows) == ("confusion", (("a[0]", "1, 2"), ("a[1]", "3, 4")))
