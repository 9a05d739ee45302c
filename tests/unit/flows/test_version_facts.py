"""What documents of a version say of its chips as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa

from chips.rows import licence_entry
from flows.version_facts import fused_licences, source_tables, tables_of_file
from shards.guard import findings
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


def test_the_fused_label_is_told_its_licence_and_all_whom_it_cites() -> None:
    """ODbL binds it, and no paper said so: only the column of the chips did."""
    rows = [
        [licence_entry("label", "ODbL-1.0", "(c) ESA; (c) OpenStreetMap contributors")],
        [licence_entry("label", "ODbL-1.0", "(c) OpenStreetMap contributors; (c) EEA, from /data/archive")],
        [licence_entry("label", "CC-BY-4.0", "(c) ESA"), licence_entry("osm", "ODbL-1.0", "")],
    ]
    free, bound = fused_licences(pa.table({"licences": pa.chunked_array([rows], pa.list_(LICENCE))}))
    assert free == {"licence": "CC-BY-4.0", "attribution": "(c) ESA", "share_alike": False, "non_commercial": False}
    assert (bound["licence"], bound["share_alike"]) == ("ODbL-1.0", True)
    cited = {"(c) ESA", "(c) OpenStreetMap contributors", "(c) EEA, from <path>"}
    assert set(bound["attribution"].split("; ")) == cited
    assert fused_licences(pa.table({"licences": pa.array([[]], pa.list_(LICENCE))})) == []


def test_what_a_catalog_says_of_its_licence_never_stops_a_finished_build() -> None:
    """It stands in the version's papers, which are searched for secrets and paths once all is read and paid for."""
    said = "(c) ESA, see https://a.example.org/terms?key=2021, from /data/archive"
    scene = SimpleNamespace(catalog="c", collection="s2", licence="CC-BY-4.0", attribution=said, item_id="a")
    recipe = SimpleNamespace(labels=None, modalities={"s2": SimpleNamespace(sensor="sentinel-2-l2a")})
    plan = SimpleNamespace(recipe=recipe, offered={"s2": 1}, scenes=lambda layer, used: [scene])
    (entry,) = source_tables(plan, pa.table({"s2.item_ids": [["a"]]}))  # type: ignore[arg-type]
    assert entry.attribution == "(c) ESA, see https://a.example.org/terms from <path>"
    assert entry.items == ("a",)
    assert findings(entry.model_dump_json()) == []
