"""What is known of a layer's bands: from the item where its sensor's items bring their own, else from the table."""

from __future__ import annotations

from collections.abc import Sequence

from chips.plan import LayerPlan
from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import Band, load_sensor
from sources.choose import is_wanted
from sources.scenes import scene_bands


def layer_bands(
    layer: LayerPlan, modality: Modality, items: Sequence[SceneItem], scene: SceneItem | None = None
) -> list[Band]:
    """Name and wavelengths of a layer's bands: the item's own where its sensor's items bring them.

    Args:
        layer: the group.
        modality: the recipe's wishes.
        items: of the tile; the first that is wanted speaks where ``scene`` is None.
        scene: the item behind the first date of a chip.
    """
    scene = scene or next((item for item in items if is_wanted(item, modality)), None)
    known = {band.name: band for band in (scene_bands(scene) if scene else load_sensor(modality.sensor).bands)}
    return [known.get(name) or Band(name=name, gsd_m=layer.gsd_m) for name in layer.bands]
