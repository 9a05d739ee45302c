"""A run that takes longer than its row of the region table allows: one that hangs gives signs of life like any other,
and would hold its place of the pool for ever.

It is ended in order first, as by any error: what is finished stays, and people are told. Where it hangs so that no
error reaches it (a disk that does not answer), its process ends a little later, with all stacks on standard error;
its worker tells of that.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import UserError

SECONDS_PER_HOUR = 3600.0
GRACE_S = 600.0
"""How long a run that is ended may take to let go of its cluster and of what it holds."""
MEND = "look what it waited for, or allow it more; the next run goes on with what is finished"


@contextmanager
def ended_after(hours: float | None, where: str, grace_s: float = GRACE_S) -> Iterator[None]:
    """What is done in it takes so long at most. Only a process's main thread can be ended: others go unwatched.

    Args:
        hours: None where it may take as long as it likes.
        where: what says so, for people.
        grace_s: seconds from then until the process ends, whatever it does.

    Raises:
        UserError: the time is over.
    """
    if hours is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = UserError(f"the run was ended: it took longer than {hours:g} h", where=where, mend=MEND)
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True
        raise over

    before = signal.signal(signal.SIGALRM, end)
    timer_before = signal.setitimer(signal.ITIMER_REAL, hours * SECONDS_PER_HOUR)
    faulthandler.dump_traceback_later(hours * SECONDS_PER_HOUR + grace_s, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    except Exception as error:
        if is_over and error is not over:  # what it broke on the way out says less
            raise over from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer_before)
        faulthandler.cancel_dump_traceback_later()
