"""Which members of a sample are read, by the names that a reader gives."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from schemas.errors import DatasetError

if TYPE_CHECKING:
    from shards.reader import Dataset


class Wanted:
    """Says of each member whether it is read.

    Args:
        dataset: whose sample.
        modalities: modalities or groups; all where None.
        members: of ``labels``, ``label``, ``confidence``, ``osm``, ``targets``, ``texts``; all where None.

    Raises:
        DatasetError: a name that is none of these.
    """

    def __init__(self, dataset: Dataset, modalities: Collection[str] | None, members: Collection[str] | None) -> None:
        known = {"labels", "label", "confidence", "osm", "targets", "texts"}
        odd = sorted(set(members or ()) - known)
        if odd:
            raise DatasetError(f"no member {odd[0]!r}", where=dataset.name, mend=f"known: {', '.join(sorted(known))}")
        groups = dataset.wanted_groups(modalities)
        self.names = {*groups, *(f"{group}_{more}" for group in groups for more in ("valid", "count")), "meta"}
        self.names |= known if members is None else set(members)

    def __call__(self, suffix: str) -> bool:
        """Whether a member of this suffix is read."""
        name = suffix.rpartition(".")[0]
        kinds = (("label_", "labels"), ("target_", "targets"))
        return name in self.names or any(name.startswith(k) and all_of in self.names for k, all_of in kinds)
