"""What a licence id says of itself: share-alike and non-commercial are read from its words."""

from __future__ import annotations

import re

SHARE_ALIKE = frozenset({"SA", "ODBL", "SHARING"})
"""Words of ids that bind what derives: CC-BY-SA, ODbL, CDLA-Sharing."""


def is_share_alike(licence: str) -> bool:
    """Whether what derives from it must carry it.

    >>> is_share_alike("CC-BY-SA-4.0"), is_share_alike("ODbL-1.0"), is_share_alike("CC-BY-4.0")
    (True, True, False)
    """
    return not SHARE_ALIKE.isdisjoint(_words(licence))


def is_non_commercial(licence: str) -> bool:
    """Whether it may not be used commercially.

    >>> is_non_commercial("CC-BY-NC-4.0"), is_non_commercial("ODbL-1.0")
    (True, False)
    """
    return "NC" in _words(licence)


def _words(licence: str) -> list[str]:
    return re.split(r"[^A-Z0-9]+", licence.upper())
