"""A Dask cluster of the test's own, on ports that nobody else has."""

from __future__ import annotations

from typing import Any

from distributed import LocalCluster


def own_cluster(n_workers: int, **options: Any) -> LocalCluster:
    """A LocalCluster; left alone it takes port 8787 for its dashboard and warns, an error here, when another has it."""
    return LocalCluster(n_workers=n_workers, dashboard_address="127.0.0.1:0", **options)  # type: ignore[no-untyped-call]
