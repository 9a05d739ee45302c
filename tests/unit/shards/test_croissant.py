"""What the Croissant file says of the members of a sample."""

from __future__ import annotations

import json
import tarfile
from fnmatch import fnmatch
from pathlib import Path

from shards.reader import open_dataset


def test_every_array_mask_label_and_text_of_a_sample_is_in_one_file_set(published: Path) -> None:
    document = open_dataset(published).document
    croissant = json.loads((published / "versions" / document.version / "croissant.json").read_text())
    globs = {one["includes"] for one in croissant["distribution"] if one["@type"] == "cr:FileSet"}
    members: set[str] = set()
    for shard in document.shards:
        with tarfile.open(published / shard.path) as tar:
            members |= set(tar.getnames())
    assert any(name.endswith(".label.npy") for name in members)
    for name in members:
        derived = name.endswith(".osm.json") or ".target_" in name
        assert sum(fnmatch(name, glob) for glob in globs) == (0 if derived else 1), name
    assert all(any(fnmatch(name, glob) for name in members) for glob in globs)
