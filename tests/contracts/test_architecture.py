from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROOMS = dict(re.findall(r"^\| `([a-z]+)/` \| (.*?) \|", PAGE, re.MULTILINE))
HOPS = re.findall(r"^\| (\d) \| (.*?) \| (\w+) \| (.*?) \|$", PAGE, re.MULTILINE)
TYPES = re.findall(r"^\| ((?:`[A-Z]\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)


def defined(room: str, name: str) -> bool:
    """Whether a module of the room defines a function or class of that name."""
    pattern = re.compile(rf"^\s*(?:async )?(?:def|class) {name}\b", re.MULTILINE)
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in (ROOT / room).glob("*.py"))


def test_the_page_has_every_package_of_the_tree() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - set(ROOMS) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_modules_named_in_a_rooms_row_exist(room: str) -> None:
    for name in re.findall(r"`([a-z0-9_]+\.py)`", ROOMS[room]):
        assert (ROOT / room / name).exists(), f"{room}/{name}"


@pytest.mark.parametrize(("number", "calls", "room", "flow"), HOPS)
def test_calls_of_a_hop_exist_in_its_room(number: str, calls: str, room: str, flow: str) -> None:
    if "not built yet" in flow:
        assert not any(path.stem in calls for path in (ROOT / room).glob("*.py")), "built by now: say so"
        return
    for name in re.findall(r"`(\w+)`", calls):
        if not (ROOT / room / f"{name}.py").exists():
            assert defined(room, name), f"hop {number}: {room} has no {name}"


def test_types_that_flow_exist() -> None:
    names = [name for row in TYPES for name in re.findall(r"`(\w+)`", row)]
    assert len(names) > 15
    for name in names:
        assert any(defined(room, name) for room in ROOMS), name
