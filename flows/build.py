"""The build flow: look -> first pass -> reduce -> second pass -> write -> publish.

Prefect sees stages, Dask sees tiles and shards (docs/adr/0002): a Prefect task here holds one stage, submits its
units to Dask, and watches them. Fragments on disk carry everything between stages, so a run that was killed starts
again where it stopped. Where the dataset has a version already, only what changed since is done (docs/adr/0015).
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from dask.utils import funcname
from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import in_words, key_of, quietly, show_table
from flows.cluster import dask_client, quieten
from flows.forecast import forecast
from flows.forking import require_own_process
from flows.looking import Look, owner_of, unchanged
from flows.patience import may_pass
from flows.progress import current
from flows.request import BuildRequest, BuildResult
from flows.runs import spread
from flows.stages import PlainStages, run_stages, sweep_scratch
from flows.workers import Wanted, by_whoever_may, require_workers, wanted_of
from shards.lock import dataset_lock


class OnCluster:
    """Spreads the units of a stage over the workers of a cluster (`flows.stages.Spread`).

    Args:
        client: of the cluster.
        wanted: what its workers have to bring; None for workers of our own.
    """

    def __init__(self, client: Client, wanted: Wanted | None = None) -> None:
        self.client, self.wanted = client, wanted

    def __call__(
        self,
        stage: str,
        work: Callable[..., Any],
        arguments: Callable[[Any], tuple[Any, ...]],
        units: Sequence[Any],
        name: Callable[[Any], Any],
        done: int = 0,
    ) -> dict[Any, Any]:
        """See `flows.stages.Spread`."""

        def submit(unit: Any, **where: Any) -> Any:
            if self.wanted is None:
                return self.client.submit(work, *arguments(unit), pure=False, **where)
            key = f"{funcname(work)}-{uuid.uuid4()}"  # the name that the dashboard shows
            packed = pickle.dumps((work, arguments(unit)))
            return self.client.submit(by_whoever_may, self.wanted, packed, key=key, **where)

        return spread(self.client, stage, submit, units, name, done)


NAMES = {
    "look": "plan",
    "first": "first pass",
    "realign": "realign",
    "reduce": "reduce",
    "second": "second pass",
    "caption": "caption",
    "write": "write",
    "publish": "publish",
}
"""Stage -> name of its task in Prefect."""


class PrefectStages:
    """The stages as tasks of the flow that runs; what they leave lies on disk already, and is no affair of Prefect's.

    Args:
        stages: what they do.
        patience_s: pauses before a stage is tried again that ended for a reason which may pass by itself.
    """

    def __init__(self, stages: PlainStages, patience_s: Sequence[float] = ()) -> None:
        self.stages, self.patience_s = stages, list(patience_s)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        step = getattr(self.stages, name)

        def as_task(*arguments: Any) -> Any:
            """Prefect takes the parameters of a task apart to look for futures, down to every chip: it gets none."""

            def stage() -> Any:
                return step(*arguments)

            stage.__doc__ = step.__doc__
            return task(
                name=NAMES[name],
                cache_policy=NO_CACHE,
                persist_result=False,
                retries=len(self.patience_s),
                retry_delay_seconds=self.patience_s,
                retry_condition_fn=is_worth_a_retry,
            )(stage)()

        return as_task


def is_worth_a_retry(stage: Any, run: Any, state: Any) -> bool:
    """Whether a stage ended for a reason that passes by itself.

    What a unit of work meets is retried where it is read (`sources.retry`), and is an outcome in the end; this is for
    the stages themselves, which ask the catalogs.
    """
    try:
        state.result()
    except Exception as error:
        return may_pass(error)
    return False


def show_ahead(request: BuildRequest, found: Look) -> None:
    """What a refresh will do and cost, on the run's page before it does it."""
    figures = forecast(request.storage, found).figures()
    rows = [{"what": name, "how much": in_words(value)} for name, value in figures.items()]
    show_table(key_of(request.recipe.name, "refresh"), rows)


def build(request: BuildRequest) -> BuildResult:
    """A dataset from a recipe: built, resumed or refreshed, and published.

    Prefect keeps a flow's parameters, shows them, and takes no more than 512 kB of them: it gets names. A request holds
    the values of ``${TERRAWEFT_...}``, signed addresses among them, whole lists of cells, and estimates.

    Raises:
        UserError: a mistake of the user's; nothing is lost.
    """
    require_own_process()

    @flow(name="build", validate_parameters=False, persist_result=False)
    def named(dataset: str, recipe: str) -> BuildResult:
        return _built(request)

    return named(request.storage.uri, request.recipe.name)


def _built(request: BuildRequest) -> BuildResult:
    began = time.monotonic()
    quieten()
    request.work.mkdir(parents=True, exist_ok=True)
    with dataset_lock(request.storage, owner_of(request)) as held:
        sweep_scratch(request.work)
        progress = current()
        progress.start("plan", 1)
        found: Look = PrefectStages(PlainStages(), request.patience_s).look(request)
        progress.finish("plan")
        done = unchanged(request, found, began)
        if done is not None:
            return done
        if found.before is not None:
            quietly(show_ahead, request, found)
        scratch = request.work / "dask"
        with contextlib.ExitStack() as ends:
            client = ends.enter_context(dask_client(request.dask_address, request.workers, scratch))
            wanted = ends.enter_context(wanted_of(found)) if request.dask_address else None
            if wanted is not None:
                require_workers(client, str(request.dask_address), wanted)
            stages: Any = PrefectStages(PlainStages(OnCluster(client, wanted)))
            result = run_stages(request, found, stages, held, began)
        shutil.rmtree(scratch, ignore_errors=True)
    return result
