"""What stops a plan before anything is read: names of what there is not, absent files, layers not to be given on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from chips.composite import red_and_nir
from chips.plan import LayerPlan
from flows.frozen_items import FrozenItems
from flows.label_files import local_path
from labelers.marks import mark_sizes
from labelers.targets import check_targets
from labelers.voters import setup_of
from schemas.errors import RecipeError
from schemas.legend import load_legend
from schemas.recipe import Modality, Recipe, fill
from schemas.scene import SceneItem
from schemas.sensor import load_sensor
from sources.engine import open_engine
from sources.layer_bands import layer_bands
from sources.stac_index_columns import Selection


def check_names(recipe: Recipe) -> None:
    """Stop before anything is read where the recipe names what there is not: an engine, a sensor, a band, a legend, a
    crosswalk, a class.

    Raises:
        RecipeError: where it stands, and the known ones.
    """
    for name, modality in recipe.modalities.items():
        with _named_at(f"modalities.{name}.engine"):
            open_engine(modality.engine)
        with _named_at(f"modalities.{name}.sensor"):
            profile = load_sensor(modality.sensor)
        known = profile.band_names()
        unknown = [band for band in modality.bands if band not in known]
        if unknown and not profile.bands_from_item:
            raise RecipeError(
                f"{modality.sensor} has no band {unknown[0]!r}",
                where=f"modalities.{name}.bands",
                mend=f"known: {', '.join(known)}",
            )
        is_radar = profile.kind == "sar"
        may_be_amplitude = profile.sensor == "sentinel-1-grd"
        used = {"store": is_radar, "ground_range": may_be_amplitude, "bands_order": profile.bands_from_item}
        for key, is_used in used.items():
            if not is_used and getattr(modality, key) != Modality.model_fields[key].default:
                what = f"{modality.sensor} has nothing that this could change"
                raise RecipeError(what, where=f"modalities.{name}.{key}", mend="leave it out")
        if profile.kind == "classes" and modality.composite is not None and modality.composite.how != "best":
            what = f"a {modality.composite.how} of class codes is no class"
            raise RecipeError(what, where=f"modalities.{name}.composite.how", mend="take best, or no composite")
    register = recipe.register_shifts
    if register.mode == "correct" and register.correct_above_m >= register.max_shift_m:
        what = f"no shift is above {register.correct_above_m:g} m and not above max_shift_m, {register.max_shift_m:g} m"
        raise RecipeError(what, where="register.correct_above_m", mend="give it a smaller one")
    reference = register.reference
    if reference is not None and register.mode != "off":
        sensor = recipe.modalities[reference].sensor
        if load_sensor(sensor).kind != "optical":
            mend = "name an optical modality, or leave it out"
            raise RecipeError(f"nothing is measured against {sensor}", where="register.reference", mend=mend)
    if recipe.labels is None:
        return
    for name, source in recipe.labels.sources.items():
        with _named_at(f"labels.sources.{name}.legend"):
            load_legend(source.legend_name())
    if recipe.labels.fuse is not None:
        with _named_at("labels.fuse.legend"):
            load_legend(recipe.labels.fuse.legend)
        mark_sizes(setup_of(recipe.labels))
    check_targets(recipe.labels, recipe.grid.gsd_m)


def refuse_absent_files(recipe: Recipe, variables: Mapping[str, str]) -> None:
    """Stop before anything is asked where a file of this machine that the recipe names is not there.

    Raises:
        RecipeError: naming the file.
    """
    sources = recipe.labels.sources if recipe.labels else {}
    named = {f"labels.sources.{name}.href": source.href for name, source in sources.items()}
    for name, modality in recipe.modalities.items():
        terrain = modality.ground_range.terrain if modality.ground_range else None
        named[f"modalities.{name}.ground_range.terrain.href"] = terrain.href if terrain else None
    for where, href in named.items():
        path = local_path(fill(href, variables, where)) if href else None
        if path is not None and not path.is_file():
            mend = "give its whole path, or the one from the folder in which you run this"
            raise RecipeError(f"there is no file {path.name}", where=where, mend=mend)


@contextmanager
def _named_at(where: str) -> Iterator[None]:
    """An error that says what is unknown, with the place in the recipe."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(error.what, where=where, mend=error.mend) from error


def refuse_ndvi_of_nothing(recipe: Recipe, layers: Sequence[LayerPlan], examples: Mapping[str, SceneItem]) -> None:
    """Stop before anything is read where a composite goes by bands that no layer has together.

    Raises:
        RecipeError: naming the modality.
    """
    for name, modality in recipe.modalities.items():
        if modality.composite is None or modality.composite.best_by != "ndvi" or name not in examples:
            continue
        bands = [layer_bands(one, modality, (), examples[name]) for one in layers if one.modality == name]
        if not any(red_and_nir([band.common_name for band in of_layer]) for of_layer in bands):
            raise RecipeError(
                "no layer has red and near infrared together",
                where=f"modalities.{name}.composite.best_by",
                mend="add the bands, grid: common where they are of two sizes, or go by clear, closest or newest",
            )


def refuse_closed(recipe: Recipe, frozen: FrozenItems, offered: Mapping[str, Selection]) -> None:
    """Stop before anything is read where a layer could not be published.

    Items that say the same of their licence are judged by the first that can be read, all of them where the sensor's
    table tells products apart.

    Raises:
        RecipeError: naming the layer and its licence.
    """
    if recipe.publish.private:
        return
    for name, modality in recipe.modalities.items():
        profile, found = load_sensor(modality.sensor), offered[name]
        if profile.redistributable:
            continue
        judged: set[str] = set()
        for row, said in zip(found.rows.tolist(), found.licence.tolist(), strict=True):
            if said in judged or (scene := frozen.scene(name, row)) is None:
                continue
            if not profile.may_be_given_on(scene.licence):
                raise RecipeError(
                    f"items of licence {scene.licence} may not be given on",
                    where=f"modalities.{name}",
                    mend="leave it out, or set publish.private: true",
                )
            if not profile.terms:
                judged.add(said)
