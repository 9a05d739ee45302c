"""YAML is read in two ways, which give the same; nodes know their lines."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from schemas.strict_yaml import LOADERS, entries, line_of, read_with, read_yaml

RECIPES = Path(__file__).parents[3] / "recipes"
TAGS = (
    *("int", "float", "bool", "null", "str", "timestamp", "binary", "value"),
    *("omap", "pairs", "set", "seq", "map", "merge", "python/tuple"),
)
VALUES = [
    "",
    "''",
    "a",
    "[a]",
    "{a: b}",
    "[[a, b]]",
    "[{a: b}]",
    "0b",
    "1:2",
    "2021-02-30",
    "~",
    "=",
    "<<",
    ".",
    "_",
    "+",
]


@pytest.mark.skipif(len(LOADERS) == 1, reason="PyYAML without libyaml")
def test_both_ways_to_read_yaml_give_the_same_values_and_lines() -> None:
    for path in sorted(RECIPES.glob("*.yaml")):
        (one, values), (other, expected) = (read_with(kind, path.read_text()) for kind in LOADERS)
        assert repr(values) == repr(expected), path.name
        lines = [[node.start_mark.line for _, _, node in entries(root)] for root in (one, other)]
        assert lines[0] == lines[1], path.name


def test_what_only_one_way_reads_is_read() -> None:
    assert read_yaml("a: [swir2:, b]")[1] == {"a": [{"swir2": None}, "b"]}  # not by libyaml


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_that_does_not_fit_is_a_mistake_in_the_yaml(tag: str) -> None:
    """PyYAML raises what its own code ran into: an index, a name, what it could not unpack."""
    for value, kind in itertools.product(VALUES, LOADERS):
        for text in (f"x: !!{tag} {value}\n", f"!!{tag} {value}: 1\n", f"? !!{tag} {value}\n: 1\n"):
            with suppress(yaml.YAMLError):
                read_with(kind, text)


def test_a_key_has_the_line_on_which_it_stands() -> None:
    root, _ = read_yaml("a: 1\nb:\n\n  # remark\n  c:\n    - d: 1\n\n    - {e: [2,\n 3]}\n")
    lines = {("a",): 1, ("b",): 2, ("b", "c"): 5, ("b", "c", 0): 6, ("b", "c", 1, "e"): 8, ("b", "c", 1, "e", 1): 9}
    assert {way: line_of(root, way) for way in lines} == lines
    assert line_of(root, ("b", "none", 3)) == 2
    assert line_of(None, ("a",)) == 1
