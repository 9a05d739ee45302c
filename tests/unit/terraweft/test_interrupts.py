"""Signals that end a command."""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from terraweft.interrupts import listen

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interrupt(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def raised_here(number: signal.Signals) -> None:
    signal.raise_signal(number)
    for _ in range(3):  # Python looks for signals where it jumps back
        pass


def _gc_callback(number: signal.Signals) -> None:
    raised_here(number)


def gone(number: signal.Signals) -> None:
    class Thing:
        """To be finalized."""

    thing = Thing()
    weakref.finalize(thing, raised_here, number)
    del thing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("deaf", [_gc_callback, gone])
def test_a_signal_where_its_exception_would_be_dropped_comes_again(
    number: signal.Signals, deaf: Callable[[signal.Signals], None]
) -> None:
    passed: list[str] = []

    def interrupted_and_waiting() -> None:
        deaf(number)
        passed.append("callback")
        threading.Event().wait(PATIENCE_S)

    with pytest.raises(KeyboardInterrupt):
        interrupted_and_waiting()
    assert passed == ["callback"]


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)
