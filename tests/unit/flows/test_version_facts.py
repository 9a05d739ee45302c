"""What documents of a version say of its chips as a whole."""

from __future__ import annotations

import pyarrow as pa

from chips.rows import licence_entry
from flows.version_facts import tables_of_file
from shards.tables import LICENCE


def test_a_label_source_that_is_a_file_is_cited_like_one_of_a_catalog() -> None:
    """ODbL asks for its name and share-alike wherever the dataset speaks of licences."""
    osm = licence_entry("osm", "ODbL-1.0", "(c) OpenStreetMap contributors")
    own = licence_entry("parcels", "", "")
    rows = [[osm, own], [osm], [licence_entry("osm", "ODbL-1.0", "")], []]
    chips = pa.table({"licences": pa.chunked_array([rows[:2], rows[2:]], pa.list_(LICENCE))})
    (found,) = tables_of_file("osm", "osm", chips)
    assert (found.layer, found.licence, found.share_alike) == ("osm", "ODbL-1.0", True)
    assert (found.attribution, found.collection, found.items) == ("(c) OpenStreetMap contributors", "osm", ())
    (untold,) = tables_of_file("parcels", "raster", chips)
    assert (untold.licence, untold.share_alike) == ("", False)
    assert list(tables_of_file("corine", "corine", chips)) == []
