"""Whether there is room for what a build will leave on this machine's disk, told before anything is read."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from shards.storage import FolderStorage

if TYPE_CHECKING:
    from flows.looking import Look
    from flows.request import BuildRequest

log = logging.getLogger(__name__)


def tell_of_room(request: BuildRequest, found: Look) -> None:
    """Warn where a build that begins has less room than it needs at most.

    No refusal: what clouds rule out is not stored, and Zarr packs what it holds. A run that goes on has a part of it
    behind it, and a refresh writes little: neither is asked.

    Args:
        request: what is built, and where.
        found: what the run will do.
    """
    if found.before is not None or next((found.job.folder / "first").glob("*"), None) is not None:
        return
    cost = found.plan.estimate
    share = found.plan.chip_count / max(1, cost.chips)  # of a part of a plan
    needed = cost.work_bytes(len(request.recipe.write.kinds))
    if isinstance(request.storage, FolderStorage):
        needed += cost.disk_bytes
    free = shutil.disk_usage(request.work).free
    if free < needed * share:
        log.warning(
            "%s has %.3g GB free, and this build needs up to %.3g GB, unfinished work included",
            request.work, free / 1e9, needed * share / 1e9,
        )  # fmt: skip
