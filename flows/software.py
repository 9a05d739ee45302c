"""Which software a run uses: stated in the dataset, and the same on every worker or the run is refused."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from distributed import Client

from flows.steps import STEPS
from schemas.errors import UserError

SOFTWARE = (
    "numpy",
    "rasterio",
    "stackstac",
    "odc-stac",
    "xarray",
    "pyproj",
    "shapely",
    "osmium",
    "zarr",
    "icechunk",
    "scikit-image",
)
"""Packages whose version may change a pixel or a label."""
TALK = ("dask", "distributed", "cloudpickle")
"""Packages that must be the same on both ends of a connection."""


def versions_of(names: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of the packages that are installed here."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint() -> dict[str, str]:
    """What has to be the same on the flow's side and on every worker."""
    steps = {f"step {name}": number for name, number in STEPS.items()}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **steps, **versions_of((*SOFTWARE, *TALK))}


def require_same_software(client: Client, address: str) -> None:
    """Refuse a cluster whose workers would not make the same bytes.

    Raises:
        UserError: one has no Terraweft, or something on it is of another version.
    """
    try:
        answers: Mapping[str, Mapping[str, str]] = client.run(fingerprint)
    except Exception as error:  # whatever unpickling our function there may raise
        raise UserError(
            f"its workers cannot run this software: {type(error).__name__}: {error}",
            where=address,
            mend="install the same version of terraweft on them, or use its image",
        ) from error
    here = fingerprint()
    for worker, there in sorted(answers.items()):
        if differing := differences(here, there):
            raise UserError(
                f"worker {worker} differs: {differing}", where=address, mend="install the same versions on both ends"
            )


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What is of another version, in words; empty where nothing is.

    >>> differences({"numpy": "2.1", "dask": "1"}, {"numpy": "2.2", "dask": "1"})
    'numpy 2.2 (here 2.1)'
    """
    names = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    said = [f"{name} {there.get(name, 'missing')} (here {here.get(name, 'missing')})" for name in names]
    return ", ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else "")
