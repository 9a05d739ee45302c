"""Ctrl-C and a polite kill of a command: KeyboardInterrupt, wherever the program is at that moment."""

from __future__ import annotations

import _weakrefset
import os
import signal
import threading
import weakref
from types import FrameType

DEAF = frozenset({"_gc_callback", "__del__"})
"""Functions that Python calls by itself and whose exceptions it drops: Dask's look at the garbage collector is one."""
DEAF_FILES = frozenset({weakref.__file__, _weakrefset.__file__})
"""Files of such functions: what is called when an object is gone."""
AGAIN_SECONDS = 0.05


def listen() -> None:
    """Take SIGINT and SIGTERM as KeyboardInterrupt from now on; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """What a signal does: where its exception would be dropped it is sent once more, when that function is over."""
    while frame is not None:
        if frame.f_code.co_name in DEAF or frame.f_code.co_filename in DEAF_FILES:
            again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
