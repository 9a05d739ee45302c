"""Imported before all else, and for that alone, by the process of which workers are forked: see `flows.forking`."""

import atexit
import os
import shutil

from flows.collector import collect_seldom
from flows.forking import FOLDER


def _tidy(process: int, folder: str) -> None:
    """Remove the folder of its socket: its caller does so where it can, and ends it by a signal."""
    if process == os.getpid():  # no worker
        shutil.rmtree(folder, ignore_errors=True)


collect_seldom()
if (_folder := os.environ.pop(FOLDER, None)) is not None:
    atexit.register(_tidy, os.getpid(), _folder)
