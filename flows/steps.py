"""Declared versions of the steps: a fragment is used again only while every step that touched it is the same.

Raise a number when a change alters pixels, labels or words; the golden test fails when bytes change without it.
"""

from __future__ import annotations

STEPS: dict[str, str] = {
    "plan": "4",
    "read": "7",
    "register": "6",
    "screen": "3",
    "label": "11",
    "fuse": "12",
    "caption": "8",
    "write": "1",
}
"""Step -> version."""

FIRST_PASS = ("plan", "read", "register", "screen", "label")
"""Steps whose work the first pass's fragments hold."""


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """The named steps with their versions."""
    return {name: STEPS[name] for name in names}
