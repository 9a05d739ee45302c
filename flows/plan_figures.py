"""What a plan costs, as names and figures: for a script (`terraweft plan --json`) and for Prefect's page."""

from __future__ import annotations

from typing import Any

from captioners.estimate import estimate_calls
from chips.estimate import Beside, Estimate
from flows.plan_store import StoredPlan
from schemas.recipe import Recipe


def figures_of(recipe: Recipe, cost: Estimate) -> dict[str, Any]:
    """Bytes, requests, disk and texts of a plan. What a model is asked and paid is a range, ``[least, most]``.

    Args:
        recipe: the recipe.
        cost: what its plan costs.
    """
    captions = recipe.captions
    found: dict[str, Any] = {
        "chips": cost.chips,
        "tiles": cost.tiles,
        "items": cost.items,
        "read_bytes_about": cost.read_bytes,
        "requests_about": cost.requests,
        "window_bytes_about": cost.window_bytes,
        **beside_figures(cost.beside),
        "disk_bytes_about": cost.disk_bytes,
        "work_bytes_about": cost.work_bytes(len(recipe.write.kinds)),
    }
    if captions is not None:
        calls = estimate_calls(captions, cost.chips)
        found |= {f"llm_{name}": calls[name] for name in ("calls", "tokens_in", "tokens_out", "cost", "max_cost")}
        found["llm_currency"] = captions.prices.currency
    return found


def beside_figures(beside: Beside) -> dict[str, Any]:
    """What is read beside imagery: class rasters and elevation, files fetched whole, queries of OpenStreetMap."""
    return {
        "beside_read_bytes_about": beside.read_bytes,
        "beside_requests_about": beside.requests,
        "beside_files": beside.files,
        "beside_file_bytes": beside.file_bytes,
        "beside_queries_about": beside.queries,
    }


def as_document(plan: StoredPlan, workers: int) -> dict[str, Any]:
    """The figures with what a script asks beside them; texts as `flows.forecast.Forecast.as_dict` names them.

    Args:
        plan: the plan.
        workers: who read.
    """
    layers = [{"group": one.group, "sensor": one.sensor, "gsd_m": one.gsd_m, "bands": list(one.bands),
               "items": plan.offered.get(one.modality, 0)} for one in plan.layers]  # fmt: skip
    recipe, captions = plan.recipe, plan.recipe.captions
    figures = figures_of(recipe, plan.estimate)
    llm: dict[str, Any] = {}
    if captions is not None and captions.may_ask:
        llm = {**estimate_calls(captions, plan.estimate.chips), "currency": captions.prices.currency}
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash(),
        **{name: value for name, value in figures.items() if not name.startswith("llm_")},
        "llm": llm,
        "seconds_about": round(plan.estimate.seconds(workers), 1),
        "workers": workers,
        "splits": dict(plan.splits),
        "layers": layers,
        "notes": list(plan.notes),
    }
