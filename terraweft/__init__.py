"""The lobby: the public API that downstream code imports, and the command line.

Belongs here: open_dataset, the training stream, the ranking of texts, reading the environment once, argument parsing.
Does not: logic; that lives in the rooms.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioners.ranking import Ranking, Scorer, load_scorer, rank_texts
    from shards.filters import ChipFilter, DateChoice, DateFilter
    from shards.reader import Dataset
    from terraweft.lightning_data import ChipDataModule
    from terraweft.reading import check, open_dataset
    from terraweft.torch_data import ChipStream, StreamOptions
    from terraweft.torch_loader import ChipLoader, collate

try:
    __version__ = version("terraweft")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

__all__ = [
    "ChipDataModule",
    "ChipFilter",
    "ChipLoader",
    "ChipStream",
    "Dataset",
    "DateChoice",
    "DateFilter",
    "Ranking",
    "Scorer",
    "StreamOptions",
    "__version__",
    "check",
    "collate",
    "load_scorer",
    "open_dataset",
    "rank_texts",
]

_PLACES = {
    "open_dataset": ("terraweft.reading", "open_dataset"),
    "Dataset": ("shards.reader", "Dataset"),
    "ChipFilter": ("shards.filters", "ChipFilter"),
    "DateChoice": ("shards.filters", "DateChoice"),
    "DateFilter": ("shards.filters", "DateFilter"),
    "check": ("terraweft.reading", "check"),
    "ChipStream": ("terraweft.torch_data", "ChipStream"),
    "StreamOptions": ("terraweft.torch_data", "StreamOptions"),
    "ChipDataModule": ("terraweft.lightning_data", "ChipDataModule"),
    "ChipLoader": ("terraweft.torch_loader", "ChipLoader"),
    "collate": ("terraweft.torch_loader", "collate"),
    "Ranking": ("captioners.ranking", "Ranking"),
    "Scorer": ("captioners.ranking", "Scorer"),
    "load_scorer": ("captioners.ranking", "load_scorer"),
    "rank_texts": ("captioners.ranking", "rank_texts"),
}
"""Public name -> where it lives; imported when first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'terraweft' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # what is imported later is offered by Tab, too
