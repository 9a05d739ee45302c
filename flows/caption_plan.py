"""The dry run of a build's captions: its chips are read from the fragments that an earlier build left."""

from __future__ import annotations

from pathlib import Path

from captioners.dry_run import DryRun, dry_run
from captioners.ledger import open_ledger
from flows.captioning import Waiting
from flows.fragments import finished
from flows.plan_store import StoredPlan
from flows.request import BuildRequest, make_job, run_folder
from schemas.errors import UserError
from schemas.recipe import fill


def plan_captions(request: BuildRequest, show: int) -> DryRun:
    """What the next build of a recipe would ask a model.

    Args:
        request: as for the build.
        show: so many prompts are rendered.

    Raises:
        UserError: the recipe asks no model, or no build has come as far as its facts.
    """
    captions, folder = request.recipe.captions, run_folder(request)
    if captions is None or captions.backend == "template":
        raise UserError("the recipe asks no model for texts", where="captions.backend")
    newest: dict[str, Path] = {}
    for path in sorted(finished(folder / "second"), key=lambda path: path.stat().st_mtime):
        newest[path.name.partition("-")[0]] = path
    if not newest:
        mend = "build it with captions.max_cost: 0 first: everything but the calls is done, and reused afterwards"
        raise UserError("no build has come as far as the facts of its chips", where=str(folder), mend=mend)
    plan = StoredPlan(folder / "plan", request.recipe, request.variables)
    waiting = Waiting(make_job(request, plan.layers), newest)
    base_url = fill(captions.base_url, request.variables, "captions.base_url") if captions.base_url else ""
    there = request.ledger is not None and ("://" in request.ledger.place or Path(request.ledger.place).exists())
    ledger = open_ledger(request.ledger) if request.ledger is not None and there else None
    try:
        return dry_run(captions, waiting, ledger, base_url, show)
    finally:
        if ledger is not None:
            ledger.close()
