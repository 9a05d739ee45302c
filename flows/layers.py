"""Layers as fragments and shards hold them, as datasets again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from flows.packing import unpack_layers
from schemas.chip import check_layer
from schemas.sample import LayerArrays


def unpack_pixels(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, xr.Dataset]:
    """A chip's layers, as `flows.passes.pack_pixels` stored them."""
    return {
        group: layer_of(
            stored,
            facts["layer_attrs"][group],
            facts["bands"][group],
            facts["common_names"][group],
            facts["wavelengths_nm"][group],
        )
        for group, stored in unpack_layers(arrays, facts["georefs"]).items()
    }


def layer_of(
    stored: LayerArrays,
    attrs: Mapping[str, Any],
    bands: Sequence[str],
    common_names: Sequence[str],
    wavelengths_nm: Sequence[float | None],
) -> xr.Dataset:
    """Arrays as the dataset that `schemas.chip.check_layer` describes.

    Args:
        stored: pixels, masks, times.
        attrs: of the layer, less its georeference.
        bands: names in stored order.
        common_names: per band; empty where there is none.
        wavelengths_nm: per band; None where there is none.
    """
    return check_layer(
        xr.Dataset(
            {
                "data": (("time", "band", "y", "x"), stored.data),
                "valid": (("time", "y", "x"), stored.valid),
                "scale": (("time",), stored.scale),
                "offset": (("time",), stored.offset),
                **({} if stored.count is None else {"count": (("time", "y", "x"), stored.count)}),
            },
            coords={
                "time": stored.time_utc,
                "band": np.array(bands, dtype=np.str_),
                "common_name": ("band", np.array(common_names, dtype=np.str_)),
                "wavelength_nm": ("band", np.array([np.nan if w is None else w for w in wavelengths_nm], np.float64)),
                "y": stored.georef.y_centres(),
                "x": stored.georef.x_centres(),
            },
            attrs={**attrs, "georef": stored.georef},
        )
    )
