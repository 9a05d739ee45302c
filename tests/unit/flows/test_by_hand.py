"""Flows that somebody starts say what they were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from chips.estimate import Estimate
from flows import by_hand
from flows.site import find_recipe

PAID = {
    "backend": "openai",
    "base_url": "https://llm.example.org/v1",
    "model": "one",
    "kinds": ["short"],
    "price_per_million_in": 2.0,
    "price_per_million_out": 8.0,
}


def test_a_region_s_plan_says_what_its_texts_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, _ = find_recipe(Path("sandbox"))
    mine = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"captions": PAID}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    (tmp_path / "regions.yaml").write_text(
        "format: 1\nname: alps\nrecipe: mine.yaml\nroot: data/{region}\nregions:\n  - name: inn\n"
    )
    shown: list[Sequence[Mapping[str, Any]]] = []
    monkeypatch.setattr(by_hand, "show_table", lambda key, rows: shown.append(rows))
    plan = SimpleNamespace(estimate=Estimate(10, 1, 1, 1, 1, 1))
    monkeypatch.setattr(by_hand, "make_plan", lambda *_: plan)
    found = by_hand.plan_region.fn(str(tmp_path / "regions.yaml"), "inn", str(tmp_path / "plan"))
    assert found["llm_calls"] == [10, 20]
    assert 0 < found["llm_cost"][0] < found["llm_cost"][1]
    rows = {row["what"]: row["how much"] for row in shown[0]}
    assert rows["llm_calls"] == "10 to 20"
    assert rows["llm_currency"] == "USD"
    assert not any(name.startswith("refresh_") for name in rows), "there is no dataset yet"
    given: list[Any] = []
    ahead = SimpleNamespace(figures=lambda: {"chips_changed": 3})
    monkeypatch.setattr(by_hand, "read_pointer", lambda storage: "v1")
    monkeypatch.setattr(by_hand, "look_ahead", lambda request: given.append(request) or ahead)
    variables = {"TERRAWEFT_SANDBOX_STAC": "http://127.0.0.1:9"}
    monkeypatch.setattr(by_hand, "variables", lambda recipe: variables)
    found = by_hand.plan_region.fn(str(tmp_path / "regions.yaml"), "inn", str(tmp_path / "plan"))
    assert found["refresh_chips_changed"] == 3
    assert given[0].plan == tmp_path / "plan", "the catalogs are asked once"
