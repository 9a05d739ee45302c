"""One thread for every test of the room: what is learned does not hang on the machine, and processes do not fight."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
