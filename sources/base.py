"""What every plug-in of this room is: the protocols, and how a plug-in is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from schemas.errors import UserError
from schemas.recipe import LonLatBox, Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile
from sources.assets import BandInfo
from sources.items import Item
from sources.radiometry import Radiometry


class CatalogClient(Protocol):
    """Where items come from."""

    def search(
        self,
        collection: str,
        bbox: LonLatBox,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Mapping[str, str | int | float | bool] | None = None,
    ) -> list[Item]:
        """Items that touch the box and the time window, in time order, ties by id.

        An open end of the window is None; items of a range count where the range touches the window.

        Raises:
            CatalogError: no such collection, or no answer as a catalog gives one.
            ThrottledError, TransientSourceError, AccessDeniedError: as the server said.
        """
        ...

    def left_out(self, collection: str) -> Mapping[str, str]:
        """What searches of a collection met and left out because it makes no sense: name -> why."""
        ...


class ToSceneItem(Protocol):
    """One sensor's knowledge of its products."""

    def __call__(self, item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
        """The item with every decision about it taken.

        Raises:
            UnsupportedItemError: we refuse to read it, with the reason.
            AssetMissingError: it lacks a band that the recipe asks for.
        """
        ...


class RadiometryOf(Protocol):
    """What the stored numbers of some bands of an item mean."""

    def __call__(self, item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
        """Scale, offset and unit, with the reason.

        Raises:
            UnsupportedItemError: the evidence does not decide.
        """
        ...


def load_target(target: str) -> Any:
    """The object that ``module:name`` means.

    Raises:
        UserError: the module or the name is not there.
    """
    module_name, _, name = target.partition(":")
    try:
        return getattr(import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"plug-in {target} cannot be loaded: {error}") from error
