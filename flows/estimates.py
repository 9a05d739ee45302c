"""What was estimated over a whole dataset, as a version stores it: a hashed input of the next one.

A refresh takes these parameters as they are, so that a chip which nothing touched stays as it is to the bit. Each
is bound to the part of the recipe and the step versions that it was estimated under: where that changed, every chip it
concerns is touched anyway, and it is estimated anew. `refit` lets go of all but the numbers of buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from chips.inputs import FUSE, LABELS, REGISTER, SCREEN, digest
from chips.statistics import Summary
from flows.fragments import key_of
from schemas.errors import DatasetError
from schemas.recipe import Recipe

FORMAT = 2
"""Of format 1 are files with one hash for shifts and twins."""
NAME = "estimates.json"
"""Name of the file in a version's folder."""
STALE_SHARE = 0.25
"""Past this share of chips touched since the parameters were estimated, a refresh says that they may be stale."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Estimates:
    """Parameters over the whole dataset, and what they were estimated under."""

    fusion: Mapping[str, Any] | None = None
    """The fusion model as JSON; None where nothing is fused."""
    fusion_part: str = ""
    """Hash of the recipe's labels and fusion; empty: not estimated yet."""
    bands: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    """Modality group -> band -> count, mean, standard deviation over clear pixels of the train split."""
    bands_parts: Mapping[str, str] = field(default_factory=dict)
    """Modality group -> hash of its modality's part of the recipe."""
    scene_shifts: tuple[Mapping[str, Any], ...] = ()
    """Shifts of acquisitions (`chips.scene_shift.to_rows`)."""
    shifts_part: str = ""
    """Hash of the recipe's modalities and co-registration; empty: not estimated yet."""
    twins: tuple[Mapping[str, Any], ...] = ()
    """Chips that show one place twice."""
    twins_part: str = ""
    """Hash of the recipe's modalities, co-registration and screening; empty: not estimated yet."""
    buckets: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of its hash buckets."""

    @property
    def model_key(self) -> str:
        """Hash of the fusion model."""
        return key_of(self.fusion)

    @property
    def findings_part(self) -> str:
        """Hash of what shifts or twins were estimated under; empty: neither is estimated yet."""
        return self.shifts_part or self.twins_part

    def components(self, modality_of: Mapping[str, str]) -> frozenset[str]:
        """Modalities and parts of the labels that something which is estimated is of.

        Args:
            modality_of: modality group -> modality.
        """
        found = {modality_of[group] for group in self.bands_parts if group in modality_of}
        found |= set(modality_of.values()) if self.findings_part else set()
        return frozenset(found | ({LABELS, FUSE} if self.fusion_part else set()))

    def models(self, recipe: Recipe) -> dict[str, str]:
        """Component -> hash of the parameters that it goes by; empty where they are still to be estimated.

        Shifts of acquisitions and twins count where the recipe moves or rejects chips by them.
        """
        register = recipe.register_shifts
        models = {FUSE: self.model_key if self.fusion_part else ""}
        if register.correct_by == "scene" and register.mode in ("correct", "reject"):
            models |= dict.fromkeys(recipe.modalities, key_of(self.scene_shifts) if self.shifts_part else "")
        if recipe.screen.near_duplicates == "reject":
            models[SCREEN] = key_of(self.twins) if self.twins_part else ""
        return models

    def holding(self, parts: Mapping[str, str], modality_of: Mapping[str, str], refit: bool = False) -> Estimates:
        """What of it still holds.

        Args:
            parts: component -> hash of what the recipe says now (`chips.inputs.recipe_parts`).
            modality_of: modality group -> modality.
            refit: whether everything is to be estimated anew.
        """
        if refit:
            return Estimates(buckets=self.buckets)
        fits = {g for g, part in self.bands_parts.items() if parts.get(modality_of.get(g, "")) == part}
        fits &= {g for g, of_group in self.bands.items() if of_group}  # of no pixel nothing was estimated
        twins = twins_part(parts, modality_of)
        held = self if self.fusion_part == fusion_part(parts) else replace(self, fusion=None, fusion_part="")
        if self.shifts_part not in (shifts_part(parts, modality_of), twins):  # in format 1 they have one hash
            held = replace(held, scene_shifts=(), shifts_part="")
        if self.twins_part != twins:
            held = replace(held, twins=(), twins_part="")
        return replace(
            held,
            bands={group: bands for group, bands in self.bands.items() if group in fits},
            bands_parts={group: part for group, part in self.bands_parts.items() if group in fits},
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON. Inverse: `from_dict`."""
        bands = {g: {name: asdict(s) for name, s in of_group.items()} for g, of_group in self.bands.items()}
        return {
            "format": FORMAT,
            "fusion": self.fusion,
            "fusion_part": self.fusion_part,
            "bands": bands,
            "bands_parts": dict(self.bands_parts),
            "scene_shifts": list(self.scene_shifts),
            "shifts_part": self.shifts_part,
            "twins": list(self.twins),
            "twins_part": self.twins_part,
            "buckets": dict(self.buckets),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Estimates:
        """The parameters that `to_dict` wrote, or wrote as format 1.

        Raises:
            DatasetError: of another format.
        """
        if document.get("format") not in (1, FORMAT):
            raise DatasetError(f"format {document.get('format')!r} of {NAME} is unknown")
        bands = {g: {n: Summary(**s) for n, s in of_group.items()} for g, of_group in document["bands"].items()}
        return cls(
            fusion=document["fusion"],
            fusion_part=document["fusion_part"],
            bands=bands,
            bands_parts=document["bands_parts"],
            scene_shifts=tuple(document["scene_shifts"]),
            shifts_part=document["findings_part" if document["format"] == 1 else "shifts_part"],
            twins=tuple(document["twins"]),
            twins_part=document["findings_part" if document["format"] == 1 else "twins_part"],
            buckets=document["buckets"],
        )


def fusion_part(parts: Mapping[str, str]) -> str:
    """Hash of what the fusion's parameters are bound to."""
    return digest([parts.get(LABELS), parts.get(FUSE)])


def shifts_part(parts: Mapping[str, str], modality_of: Mapping[str, str]) -> str:
    """Hash of what shifts of acquisitions are bound to: rejected chips count, so that no screening is among it."""
    return digest([parts[REGISTER], {name: parts[name] for name in modality_of.values()}])


def twins_part(parts: Mapping[str, str], modality_of: Mapping[str, str]) -> str:
    """Hash of what twins are bound to: they are among kept chips, which shifts may reject as well."""
    return digest([parts[REGISTER], parts[SCREEN], {name: parts[name] for name in modality_of.values()}])
