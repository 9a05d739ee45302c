"""What stands in ``dataset.json`` and the pointer (format 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.document_parts import (
    Count,
    Counts,
    Diff,
    Estimates,
    Fusion,
    LegendPart,
    Moment,
    RecipePart,
    Run,
    Splits,
    Tables,
    Texts,
    Zarr,
)  # fmt: skip
from schemas.sample import PLAIN_NAME

FORMAT = 1
CLEAR, SNOW = (1, 6), 4
"""Validity codes of pixels that show the ground, and of snow (docs/dataset.md)."""

PlainName = Annotated[str, Field(pattern=f"^{PLAIN_NAME.pattern}$")]
"""A name that may be one of a file: nothing that a stranger's dataset says leads out of a folder."""

ZarrCodec = Literal["lz4", "zstd"]
"""How Blosc packs what was measured in Zarr; classes and masks are always packed by zstd."""


PARTS = {"fusion": "fusion", "shifts": "shifts of acquisitions", "twins": "twins"}
"""What is estimated over a whole dataset beside statistics of bands -> words for it."""


FUSED_SOURCE: dict[str, Any] = {"layer": "label", "collection": "fused of the label sources"}
"""Names of the fused label's lines beside those of the sources."""


def version_name(estimates: Mapping[str, Any], version: str, quote: str = "`") -> str:
    """A version that estimates are of, for people: with its dataset where that is another one."""
    name = (estimates.get("datasets") or {}).get(version)
    told = f"{quote}{version}{quote}"
    return f"{told} of the dataset {quote}{name}{quote}" if name else told


class Pointer(BaseModel):
    """``terraweft.json``: the one thing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Format of the dataset."""
    name: str
    """Name of the dataset."""
    current: str
    """Version that readers open."""


class ShardRecord(BaseModel):
    """One shard file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the dataset's root."""
    bytes: Count
    """Size of the file."""
    sha256: str
    """Of the whole file."""
    split: PlainName
    """train, val or test."""
    bucket: Count
    """Hash bucket of its chips."""
    chip_ids: tuple[str, ...]
    """Keys, in order."""


class BandTable(BaseModel):
    """One band of a layer as the dataset documents it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Band name."""
    common_name: str = ""
    """STAC common name."""
    centre_nm: float | None = None
    """Centre wavelength."""
    fwhm_nm: float | None = None
    """Full width at half maximum."""
    polarisation: str = ""
    """For SAR."""
    mean: float | None = None
    """Mean physical value over clear pixels of the train split."""
    std: float | None = None
    """Standard deviation, likewise."""
    count: Count = 0
    """Pixels behind mean and std."""


class LayerTable(BaseModel):
    """One modality group as the dataset documents it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: PlainName
    """``s2_10m``: member name in shards and group name in Zarr."""
    modality: PlainName
    """``s2``."""
    sensor: str
    """Sensor profile."""
    gsd_m: float
    """Pixel size stored."""
    dtype: str
    """Stored type."""
    unit: str
    """Unit of the physical value."""
    nodata: float | None
    """Stored value of no data."""
    bands: tuple[BandTable, ...]
    """In stored order."""
    max_dates: Count
    """Largest number of dates of a chip."""
    composite: str = ""
    """How several dates became one (median, ...); such a group has the member ``<group>_count.npy``: clear dates behind
    each pixel. Empty where dates are single."""
    shape_yx: tuple[Count, Count]
    """Largest rows and columns of a chip."""


class SourceTable(BaseModel):
    """One catalog collection that was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: str
    """Modality or label source."""
    catalog: str
    """Name of the catalog in the recipe."""
    collection: str
    """Collection id."""
    licence: str
    """Licence id."""
    attribution: str
    """Attribution to show."""
    share_alike: bool = False
    """Whether what derives from it must carry its licence."""
    non_commercial: bool = False
    """Whether it may not be used commercially."""
    redistributable: bool = True
    """Whether it may be given on."""
    items: tuple[str, ...] = ()
    """Ids of the items read."""


class DatasetDocument(BaseModel):
    """``versions/<version>/dataset.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Format of the dataset."""
    name: PlainName
    """Name of the dataset."""
    title: str = ""
    """For people."""
    version: str
    """UTC time and first 8 of the content hash."""
    parent_version: str = ""
    """Version this one was made from."""
    created: Moment
    """ISO time."""
    recipe: RecipePart
    """Resolved recipe, without secrets and local paths."""
    recipe_hash: str
    """What names the run."""
    code_version: str
    """Version of Terraweft."""
    steps: dict[str, str] = Field(default_factory=dict)
    """Step -> declared version."""
    software: dict[str, str] = Field(default_factory=dict)
    """Versions of what touched pixels."""
    content_hash: str
    """sha256 over tables and shard hashes."""
    counts: Counts
    """planned, kept, rejected {reason: n}, failed {class: n}."""
    modalities: tuple[LayerTable, ...]
    """Band tables with statistics."""
    legends: dict[PlainName, LegendPart] = Field(default_factory=dict)
    """Label source -> legend; ``label`` -> the fused one."""
    crosswalk: dict[str, Any] = Field(default_factory=dict)
    """Source -> crosswalk used in the fusion."""
    registration: dict[str, Any] = Field(default_factory=dict)
    """``scene_shifts``: one row per pair of acquisitions that chips measured against each other."""
    near_duplicates: tuple[dict[str, Any], ...] = ()
    """Pairs of chips that show the same place twice: ``kept``, ``other``, ``modality``, ``similarity``."""
    fusion: Fusion = Field(default_factory=dict)
    """Method, estimated parameters, disagreement between sources."""
    splits: Splits
    """counts, buckets, method, leakage."""
    texts: Texts = Field(default_factory=dict)
    """counts, models, tokens, cost, verification rates."""
    tables: Tables = Field(default_factory=dict)
    """File name -> {bytes, sha256, rows} of every other file of the version."""
    shards: tuple[ShardRecord, ...]
    """Every tar."""
    zarr: Zarr = Field(default_factory=dict)
    """path, tag, groups; empty where the recipe asks for none."""
    sources: tuple[SourceTable, ...]
    """What was read, with licences."""
    diff: Diff = Field(default_factory=dict)
    """Against the parent: chips added, changed, unchanged, removed; why they were touched; bytes written."""
    estimates: Estimates = Field(default_factory=dict)
    """path and sha256 of the estimated parameters, and in which version they were estimated over how many chips;
    bands: modality group -> version of its statistics, where that is another; parts: the same of `PARTS`; datasets:
    version -> name of the dataset that it is of, where that is another one (``--estimates``)."""
    limits: tuple[str, ...] = ()
    """Known limits, as the card says them."""
    run: Run = Field(default_factory=dict)
    """What differs from run to run: host, seconds, bytes, cost."""
    private: bool = False
    """Whether it holds layers that may not be given on."""

    def clear_codes(self, modality: str) -> tuple[int, ...]:
        """Validity codes of a modality's pixels that show the ground: snow where the recipe takes it for clear."""
        select = ((self.recipe.get("modalities") or {}).get(modality) or {}).get("select") or {}
        return (*CLEAR, SNOW) if select.get("snow_is_clear") else CLEAR

    def statistics_of(self, group: str) -> str:
        """The version over whose train split a modality group's means and deviations were taken: a refresh keeps its
        parent's, but of a modality that was edited.
        """
        apart = self.estimates.get("bands") or {}
        return str(apart.get(group) or self.estimates.get("version") or self.version)

    def fused_sources(self) -> tuple[SourceTable, ...]:
        """Under which licences the fused label stands, as lines beside those of ``sources``; none without fusion."""
        return tuple(SourceTable(catalog="", **FUSED_SOURCE, **told) for told in self.fusion.get("licences") or ())

    def part_of(self, part: str) -> str:
        """The version in which one of `PARTS` was estimated."""
        apart = self.estimates.get("parts") or {}
        return str(apart.get(part) or self.estimates.get("version") or self.version)

    def name_of(self, version: str, quote: str = "`") -> str:
        """A version that estimates are of, for people: with its dataset where that is another one."""
        return version_name(self.estimates, version, quote)

    def estimates_for_another(self) -> dict[str, Any]:
        """``estimates`` as a dataset goes on with them that takes them over: every version with its dataset's name."""
        apart = [of for key in ("bands", "parts") for of in (self.estimates.get(key) or {}).values()]
        names = dict.fromkeys((self.estimates["version"], *apart), self.name)
        return {**self.estimates, "datasets": names | (self.estimates.get("datasets") or {})}

    def statistics_by_version(self, groups: Sequence[str]) -> dict[str, list[str]]:
        """Version of the statistics -> those of the modality groups; versions in order."""
        found: dict[str, list[str]] = {}
        for group in groups:
            found.setdefault(self.statistics_of(group), []).append(group)
        return dict(sorted(found.items()))

    def when_statistics(self, groups: Sequence[str]) -> str:
        """In which versions the statistics of some modality groups were taken, as a sentence goes on; empty where all
        in this one.
        """
        found = self.statistics_by_version(groups)
        if found.keys() <= {self.version}:
            return ""
        of = {version: ", ".join(f"`{group}`" for group in named) for version, named in found.items()}
        told = [f"{self.name_of(version)}{f' ({of[version]})' if len(found) > 1 else ''}" for version in found]
        return f", as it was in version {' and '.join(told)}"
