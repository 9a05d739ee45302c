"""A time of day that is set back between two messages of Dask holds none of them up, nor a timer of Tornado."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.stepped_clock import SteppedClock

PROGRAM = """
import asyncio, os, struct, sys, time
from distributed.batched import BatchedSend
from tornado.ioloop import PeriodicCallback

if sys.argv[1] == "held":
    from flows.dask_clock import dask_setup

    dask_setup(None)
sent, ticks = [], []

class Comm:
    def closed(self):
        return False

    async def write(self, payload, **how):
        sent.extend(payload)
        if payload == ["first"]:
            began = time.time()
            with open(os.environ["TERRAWEFT_CLOCK_STEP"], "r+b") as step:
                step.write(struct.pack("q", -3600 * 10**9))
            assert time.time() < began - 3000
            ticks.clear()
            messages.send("second")
        return 1

async def main():
    global messages
    messages = BatchedSend(interval="2ms")
    messages.start(Comm())
    timer = PeriodicCallback(lambda: ticks.append(1), 20)
    timer.start()
    messages.send("first")
    await asyncio.sleep(1.0)
    print(*sent, "ticking" if len(ticks) > 5 else "stuck")

asyncio.run(main())
"""


@pytest.mark.services("cc")
@pytest.mark.parametrize(("how", "seen"), [("held", "first second ticking"), ("as it is", "first stuck")])
def test_what_comes_after_a_step_of_the_clock_is_sent_at_once(how: str, seen: str, stepped_clock: SteppedClock) -> None:
    stepped_clock.set_back(0)
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(
        command, env=os.environ | stepped_clock.variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == seen, done.stderr[-2000:]
