"""What a worker of somebody else's cluster has to bring, told in a line before anything is read.

It may lie on another machine, in another user's hands, and join when half of the work is done: who is there when a
build begins is asked then, who comes later with its first unit.
"""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, get_worker

from flows.job import Job
from flows.label_files import local_path
from flows.software import differences, fingerprint
from flows.vault import MachineVault
from schemas.errors import TerraweftError, UserError
from schemas.recipe import fill
from shards.layout import POINTER
from shards.writable import require_writable
from sources.credentials import require_credentials

if TYPE_CHECKING:
    from flows.looking import Look

PASSES = "flows.realign"
"""Imports every pass: a package that it lacks is missed here, and not in the first tile."""


@dataclass(frozen=True)
class Wanted:
    """What every worker has to bring."""

    job: Job
    """What it will be told."""
    mark: Path
    """A file that the flow has just written below ``work/``, by which a worker tells that it sees the same folder; no
    two builds have the same."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Place in the recipe -> a file of this machine that is read there."""
    software: Mapping[str, str] = field(default_factory=fingerprint)
    """As on the flow's side."""

    def require(self) -> None:
        """See that this process, a worker's, has everything.

        Raises:
            UserError: what it lacks.
        """
        if differing := differences(self.software, fingerprint()):
            raise UserError(f"differs: {differing}", mend="install the same versions on both ends")
        try:
            import_module(PASSES)
        except ImportError as error:
            mend = "install the same version of terraweft on it, with the extra build"
            raise UserError(f"cannot run this software: {error}", mend=mend) from error
        if not self.mark.is_file():
            what = f"does not see the folder of unfinished work, {self.job.work}"
            raise UserError(what, mend="workers and flow must share it: see TERRAWEFT_WORK in docs/operating.md")
        if not os.access(self.job.folder, os.W_OK):
            raise UserError(f"may not write to the folder of unfinished work, {self.job.folder}", mend="let it")
        for where, path in self.files.items():
            if not path.is_file():
                mend = "workers must see it under the same path, or read it from a web address"
                raise UserError(f"has no file {path.name}, which {where} names", mend=mend)
        require_credentials(self.job.recipe, MachineVault())
        try:
            self.job.storage.size(POINTER)
        except TerraweftError as error:
            raise UserError(f"cannot read the dataset: {error}") from error
        try:
            require_writable(self.job.storage)
        except (TerraweftError, OSError) as error:
            raise UserError(f"cannot write the dataset: {error}") from error


@contextmanager
def wanted_of(found: Look) -> Iterator[Wanted]:
    """What the workers of a run have to bring, while it lasts.

    Args:
        found: what the run will do.
    """
    mark = found.job.work / "dask" / uuid.uuid4().hex
    for folder in (mark.parent, found.job.folder):
        folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield Wanted(found.job, mark, files_of(found))
    finally:
        with suppress(OSError):
            mark.unlink()


def files_of(found: Look) -> dict[str, Path]:
    """Place in the recipe -> file of this machine that workers read: labels, terrain, one scene of each modality."""
    recipe = found.job.recipe
    sources = recipe.labels.sources if recipe.labels else {}
    named = {f"labels.sources.{name}.href": source.href for name, source in sources.items()}
    for name, modality in recipe.modalities.items():
        terrain = modality.ground_range.terrain if modality.ground_range else None
        named[f"modalities.{name}.ground_range.terrain.href"] = terrain.href if terrain else None
        if name in found.plan.examples:
            named[f"catalogs of modalities.{name}"] = found.plan.example(name).refs[0].href
    paths = {w: local_path(fill(href, found.job.variables, w)) for w, href in named.items() if href}
    return {where: path for where, path in paths.items() if path is not None}


def require_workers(client: Client, address: str, wanted: Wanted) -> None:
    """Refuse a cluster of which a worker could not do its part.

    Args:
        client: of the cluster.
        address: of its scheduler, for the message.
        wanted: what they have to bring.

    Raises:
        UserError: naming the worker and what it lacks.
    """
    for worker, error in sorted(client.run(_lack, wanted).items()):
        if error is not None:
            raise UserError(f"worker {worker} {error.what}", where=address, mend=error.mend)


def _lack(wanted: Wanted) -> UserError | None:
    try:
        wanted.require()
    except UserError as error:
        return error
    _sound.add(wanted.mark)
    return None


_sound: set[Path] = set()
"""Marks of the builds that this process may work for."""


def by_whoever_may(wanted: Wanted, packed: bytes) -> Any:
    """A unit's work, by a worker that has what is wanted: asked once in its life for each build.

    Args:
        wanted: what it has to bring.
        packed: the pickled work and its arguments. What a worker cannot unpickle ends its process, unsaid: it is asked
            before.

    Raises:
        UserError: what it lacks; it joined after the build began.
    """
    if wanted.mark not in _sound and (error := _lack(wanted)) is not None:
        raise UserError(f"worker {get_worker().address}, which joined later, {error.what}", mend=error.mend)
    work, arguments = pickle.loads(packed)
    return work(*arguments)
