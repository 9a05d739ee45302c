"""Flows of a region that somebody starts: what a dataset costs, texts or labels again, the gates, a version by name.

Thin: each begins as `flows.scheduled.refresh_region` does, from the site's table and the worker's environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.artifacts import in_words, key_of, quietly, show_table
from flows.forecast import look_ahead
from flows.plan_figures import figures_of
from flows.planning import make_plan
from flows.regions import load_regions
from flows.request import request_of
from flows.scheduled import refresh
from flows.site import store_options, variables
from flows.validating import judge, let_readers_in
from shards.pointer import read_pointer
from shards.storage import Storage, open_storage


def run_name() -> str:
    """Name of a run: what is done, and where."""
    return f"{flow_run.flow_name} {flow_run.parameters['region']}"


@flow(name="plan", flow_run_name=run_name, persist_result=False)
def plan_region(table: str, region: str, to: str) -> dict[str, Any]:
    """What a region's dataset costs afresh, read and asked, as tables in a folder and on Prefect's page.

    Where there is a version, also what its refresh would do and cost now (``refresh_...``): what it finds unchanged it
    takes from the dataset. What a model is asked and paid for texts is a range, from ``[least, most]``.

    Args:
        table: path of the region table, as the worker sees it.
        region: name of a row.
        to: folder for the plan; ``terraweft build --plan`` takes it.
    """
    recipe, folder = load_regions(Path(table)).recipe(region)
    cost = make_plan(recipe, folder, variables(recipe), Path(to)).estimate
    found = figures_of(recipe, cost)
    if read_pointer(_storage(table, region)) is not None:
        root = load_regions(Path(table)).root(region, os.environ)
        ahead = look_ahead(request_of(recipe, folder, root, variables(recipe), plan=Path(to)))
        found |= {f"refresh_{name}": value for name, value in ahead.figures().items()} if ahead is not None else {}
    rows = [{"what": name, "how much": in_words(value)} for name, value in found.items()]
    quietly(show_table, key_of(recipe.name, "plan"), rows)
    return found


@flow(name="caption", flow_run_name=run_name, persist_result=False)
def caption_region(table: str, region: str) -> dict[str, Any]:
    """The texts of a region's dataset again; no imagery is read, and no answer that was paid for is asked again."""
    return refresh(load_regions(Path(table)), region, redo=("captions",))


@flow(name="validate", flow_run_name=run_name, persist_result=False)
def validate_region(table: str, region: str, version: str | None = None, short: bool = False) -> dict[str, Any]:
    """The gates over a region's dataset, by the thresholds of its recipe; a run whose gates do not pass has failed.

    Raises:
        MissingExtraError: the worker has no torch.
        UserError: a gate did not pass.
    """
    recipe, _ = load_regions(Path(table)).recipe(region)
    return judge(_storage(table, region), version, short, recipe.gates)


@flow(name="publish", flow_run_name=run_name, persist_result=False)
def publish_region(table: str, region: str, version: str) -> dict[str, Any]:
    """Make a version that waits for its validation the one that readers open."""
    return {"before": let_readers_in(_storage(table, region), version), "version": version}


def _storage(table: str, region: str) -> Storage:
    return open_storage(load_regions(Path(table)).root(region, os.environ), store_options(os.environ))
