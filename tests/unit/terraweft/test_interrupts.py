"""Signals that end a command."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_callback_of_the_collector_is_not_lost(number: signal.Signals) -> None:
    called: list[str] = []

    def _gc_callback(phase: str, info: object) -> None:
        if not called:
            called.append(phase)
            signal.raise_signal(number)

    def collect_and_wait() -> None:
        gc.collect()
        assert called
        threading.Event().wait(PATIENCE_S)

    gc.callbacks.append(_gc_callback)
    try:
        with pytest.raises(KeyboardInterrupt):
            collect_and_wait()
    finally:
        gc.callbacks.remove(_gc_callback)


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)
