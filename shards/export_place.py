"""The hidden folder beside its final name in which an export grows.

It is locked while the export lives: the kernel frees the lock when the process dies, so the next export to the same
name sees what a killed one left, and removes it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import DatasetError
from shards import layout
from shards.lock import hold_folder

log = logging.getLogger(__name__)


@contextmanager
def growing(to: Path) -> Iterator[Path]:
    """A new, locked folder ``.<name>.<token>.tmp`` beside ``to``, removed where an exception leaves the block.

    Raises:
        DatasetError: another export to this name is under way.
    """
    _remove_left(to)
    folder = to.with_name(f".{to.name}.{secrets.token_hex(6)}{layout.UNFINISHED}")
    folder.mkdir(parents=True)
    held = hold_folder(folder)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _remove_left(to: Path) -> None:
    """Remove what killed exports to this name left.

    Raises:
        DatasetError: one of them lives.
    """
    if not to.parent.is_dir():
        return
    ours = re.compile(rf"\.{re.escape(to.name)}\.[0-9a-f]{{12}}{re.escape(layout.UNFINISHED)}")
    for path in sorted(to.parent.iterdir()):
        if not ours.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        try:
            held = hold_folder(path)
        except BlockingIOError as error:
            what = "another export to this folder is under way"
            raise DatasetError(what, where=str(path), mend="wait for it, or give another folder") from error
        if held is None:
            continue  # nobody can tell whether it lives
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)
        log.info("removed %s, which an export that was killed left", path)
