"""A gate keeps out what has no match, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import captioners
from captioners.gated import Gated, any_of, compiled, needed

ROOT = Path(__file__).parents[3]
PATTERNS = (
    r"\b(?:border|adjoin)s?\b",
    r"[^;.]{0,20}?\b(?:twice|double|(?:two|three) times)\b as",
    r"(?:gr[ae]y|blue|bluish)(?:ish)?\b",
    r"\s+(?:is|are) (?:not )?(?:found|seen)(?: there)?$",
    r"(?i:largest|biggest)|smallest",
    r"(?P<one>lake|pond) or (?P=one)",
    r"(?:abc){2,3}|\d+ (?:ha|km²)",
    r"(?=forest)f\w+ (?!by)stands",
    r"(?:wood|)land|meadow",
    r"isolated|skirts|İsland",
)


def every_gated() -> Iterator[tuple[str, Gated]]:
    """Name and pattern of all that the modules of captions hold."""

    def within(value: Any) -> Iterator[Gated]:
        if isinstance(value, Gated):
            yield value
        elif isinstance(value, tuple | list):
            for one in value:
                yield from within(one)
        elif isinstance(value, dict):
            yield from within(list(value.values()))

    for found in pkgutil.iter_modules(captioners.__path__):
        module = importlib.import_module(f"captioners.{found.name}")
        for name, value in vars(module).items():
            for one in within(value):
                yield f"{found.name}.{name}", one


@pytest.mark.parametrize("flags", [0, re.IGNORECASE])
@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
def test_what_a_pattern_matches_passes_its_gate(pattern: str, flags: int, data: st.DataObject) -> None:
    plain = re.compile(pattern, flags)
    text = data.draw(st.from_regex(plain) | st.text("abdefilnorstwİıſK ²", max_size=12))
    found, wanted = compiled(pattern, flags).search(text), plain.search(text)
    assert (found and found.span()) == (wanted and wanted.span())
    assert [m.span() for m in compiled(pattern, flags).finditer(text)] == [m.span() for m in plain.finditer(text)]


def test_no_gate_of_the_rules_keeps_out_a_sentence_with_a_match() -> None:
    rows = yaml.safe_load((ROOT / "bench" / "verifier_handwritten.yaml").read_text())
    texts = sorted({word for word in _strings(rows) if " " in word})
    patterns = dict(every_gated())
    assert len(texts) > 100
    assert len(patterns) > 200
    gated = 0
    for name, one in patterns.items():
        plain = re.compile(one.pattern, one.flags)
        gated += one.search != plain.search
        for text in texts:
            assert bool(one.search(text)) == bool(plain.search(text)), (name, text)
    assert gated > len(patterns) / 2


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


@pytest.mark.parametrize("text", ["ſkirts", "s\u212airts", "ISOLATED", "ıſolated"])
def test_letters_that_match_where_case_does_not_count_pass(text: str) -> None:
    pattern = r"isolated|skirts"
    assert needed(re.compile(pattern, re.IGNORECASE)) == ("isolated", "skirts")
    assert compiled(pattern, re.IGNORECASE).search(text) is not None


def test_what_nearly_every_text_holds_is_no_gate() -> None:
    for pattern in (r"\b(?:is|lies) in\b", r"\w+", r"(?:lake)?", r"(?:lake)*", r"^$"):
        assert needed(re.compile(pattern)) == ()


def test_a_python_with_another_parser_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> Any:
        raise ImportError

    monkeypatch.setattr("captioners.gated.import_module", absent)
    pattern = compiled(r"\blake\b")
    assert pattern.search("a lake") is not None
    assert pattern.search("a pond") is None


@given(st.lists(st.text("abcA-", min_size=1, max_size=4), min_size=1, max_size=6, unique_by=str.lower), st.data())
def test_any_of_some_words_is_the_longest_that_stands_there(words: list[str], data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(words)) + data.draw(st.text("abcA-", max_size=3))
    plain = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    found, wanted = (re.match(one, text, re.IGNORECASE) for one in (any_of(words), plain))
    assert found is not None
    assert wanted is not None
    assert found.group(0) == wanted.group(0)
