from __future__ import annotations

import numpy as np
import pytest

from captioners.base import CaptionInput
from captioners.facts import fact_sheet
from captioners.facts_scene import DatedBands
from captioners.template import template_records
from schemas.georef import GeoRef
from schemas.legend import load_legend


@pytest.mark.parametrize(
    ("factor", "words"), [(1.005, "moved by less than 0.1 dB"), (1.05, "rose by 0.2 dB"), (0.9, "fell by 0.5 dB")]
)
def test_backscatter_never_moves_by_nothing(factor: float, words: str) -> None:
    label = np.full((12, 16), 10, np.uint8)
    scenes = [
        DatedBands("s1", day, {"vv": np.full(label.shape, 0.1 * by), "vh": np.full(label.shape, 0.02)}, unit="linear")
        for day, by in (("2022-03-01", 1.0), ("2022-09-01", factor))
    ]
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, (12, 16))
    facts = fact_sheet("chip", label, load_legend("worldcover-11"), georef, by="code", scenes=scenes)
    (record,) = template_records(CaptionInput("chip", facts, kinds=("change",)))
    assert words in record.text
    assert (record.verification, record.checks["violations"]) == ("pass", {})
