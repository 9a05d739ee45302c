"""Which shard a chip goes to: the hash of its id, so that shards mix places and no chip moves when others
change.
"""

from __future__ import annotations

import hashlib


def bucket_count(total_bytes: int, target_bytes: int) -> int:
    """How many buckets make shards of about ``target_bytes``; at least one.

    Raises:
        ValueError: a target that is not positive.

    >>> bucket_count(200, 64)
    4
    """
    if target_bytes <= 0:
        raise ValueError(f"target of {target_bytes} bytes per shard")
    return max(1, -(-total_bytes // target_bytes))


def bucket_of(chip_id: str, count: int) -> int:
    """The bucket of a chip: sha256 of its id, modulo the split's bucket count.

    >>> bucket_of("32631_500000_5600000", 1)
    0
    """
    return int(hashlib.sha256(chip_id.encode()).hexdigest(), 16) % count
