"""`open_dataset` and `check` as strangers call them: object stores are reached by what the environment says."""

from __future__ import annotations

import os
from pathlib import Path

from flows.site import store_options
from shards.check import CheckReport, check_dataset
from shards.reader import Dataset
from shards.reader import open_dataset as open_version


def open_dataset(uri: str | Path, version: str | None = None) -> Dataset:
    """A version of a dataset, by default the current one; the reader stays with it whatever is published later.

    Args:
        uri: the dataset's root: a folder, or ``file://``, ``s3://``, ``gs://``, ``az://``. For S3 the usual variables
            hold: ``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_REQUEST_PAYER``, ``AWS_NO_SIGN_REQUEST`` and credentials.
        version: name of a version; the one that the pointer names where None.

    Raises:
        DatasetError: no dataset there, no such version, an unknown format, or an address that is not supported.
    """
    return open_version(uri, version, store_options(os.environ))


def check(uri: str | Path, version: str | None = None, *, statistics: bool = False) -> CheckReport:
    """Check a dataset: files and hashes of all versions, every sample, table and Zarr chip of one.

    Args:
        uri: the dataset's root, as for `open_dataset`.
        version: name of a version; the one that the pointer names where None.
        statistics: also measure mean and deviation of every band again.

    Raises:
        DatasetError: there is no dataset to check, or no such version.
    """
    return check_dataset(uri, version, options=store_options(os.environ), statistics=statistics)
