"""What an extra brings: a command that lacks it says so in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec

from schemas.errors import MissingExtraError


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a missing library of an extra into one line.

    Raises:
        MissingExtraError: naming the library and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(str(error.name), extra) from error


def require_train() -> None:
    """Say at once that a validation could not be run, before hours of work end in that.

    Raises:
        MissingExtraError: PyTorch or Lightning is not installed.
    """
    for package in ("torch", "lightning"):
        if find_spec(package) is None:
            raise MissingExtraError.of(package, "train")
