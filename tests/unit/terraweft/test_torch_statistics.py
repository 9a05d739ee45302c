from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.errors import DatasetError
from terraweft.torch_data import _statistics


def dataset_with(*bands: tuple[float | None, float | None]) -> Any:
    """A dataset whose one layer has bands of these means and deviations."""
    table = [SimpleNamespace(name=f"b{i}", mean=mean, std=std) for i, (mean, std) in enumerate(bands)]
    return SimpleNamespace(name="made-up", layer=lambda group: SimpleNamespace(bands=table))


def test_empty_and_constant_bands_become_zero_and_do_not_stop_the_others() -> None:
    mean, std = _statistics(dataset_with((0.25, 0.5), (None, None), (3.0, 0.0)), "enmap")
    values = np.array([[0.75, 0.4, 3.0], [0.25, 9.9, 7.0]], np.float32)
    scaled = (values - mean) / std
    assert scaled.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_layer_without_any_statistics_is_refused() -> None:
    with pytest.raises(DatasetError, match="no mean and deviation for s1 b0"):
        _statistics(dataset_with((None, None), (None, None)), "s1")
