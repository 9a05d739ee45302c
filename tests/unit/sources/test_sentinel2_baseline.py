"""Where catalogs write the processing baseline, and in which form."""

from __future__ import annotations

from typing import Any

import pytest

from sources.sentinel2_baseline import baseline_of, sides_of_04

ID = "S2B_MSIL2A_20240419T095549_R122_T47XML_20240419T123458"
NAME = "S2B_MSIL2A_20240419T095549_N0510_R122_T47XML_20240419T123458.SAFE"


def item(item_id: str = ID, href: str = "x.tif", **properties: Any) -> dict[str, Any]:
    named = {name.replace("__", ":"): value for name, value in properties.items()}
    return {"id": item_id, "properties": named, "assets": {"B02": {"href": href}}}


@pytest.mark.parametrize(
    ("value", "baseline"),
    [
        ("05.11", "05.11"), ("5.11", "05.11"), (5.11, "05.11"), ("N0511", "05.11"), ("N05.11", "05.11"),
        ("0511", "05.11"), (511, "05.11"), (5.1, "05.10"), ("5.1", "05.10"), (4.0, "04.00"), (4, "04.00"),
        ("04.00", "04.00"), (3.01, "03.01"), ("2.12", "02.12"), ("V02.14", "02.14"), ("99.99", "99.99"),
        ("", ""), (None, ""), ([], ""), ({}, ""), (True, ""), ("unknown", ""), (float("nan"), ""), (-4, ""),
    ],
)  # fmt: skip
def test_a_baseline_is_read_in_every_form_in_which_catalogs_write_it(value: Any, baseline: str) -> None:
    assert baseline_of(item(s2__processing_baseline=value)) == baseline


@pytest.mark.parametrize(
    ("document", "baseline"),
    [
        (item(NAME.removesuffix(".SAFE")), "05.10"),
        (item(s2__product_uri=NAME), "05.10"),
        (item(href=f"https://x.example.org/47/X/ML/{NAME}/GRANULE/B02_10m.tif?st=1"), "05.10"),
        (item(href=f"s3://eodata/Sentinel-2/MSI/L2A_N0500/2020/03/01/{NAME}/MTD.xml"), "05.10"),
        (item(s2__granule_id="S2B_OPER_MSI_L2A_TL_2BPS_20240419T1234_A037185_T47XML_N05.10"), "05.10"),
        (item(eopf__datastrip_id="S2A_OPER_MSI_L2A_DS_S2RP_20230630T033416_S20200301T090936_N05.00"), "05.00"),
        (item(processing__version="05.00"), "05.00"),
        (item(processing__version="1.4.2"), ""),
        (item(processing__version="2.0", s2__product_uri=NAME), "05.10"),
        (item("S2B_47XML_20240419_0_L2A"), ""),
    ],
)
def test_a_baseline_is_found_wherever_the_product_is_named(document: dict[str, Any], baseline: str) -> None:
    assert baseline_of(document) == baseline


def test_a_property_comes_before_a_name_and_a_name_before_a_part() -> None:
    assert baseline_of(item(s2__processing_baseline="05.00", s2__product_uri=NAME)) == "05.00"
    assert baseline_of(item(s2__product_uri=NAME, s2__datatake_id="GS2B_20240419T095549_037185_N03.01")) == "05.10"


def test_a_property_and_a_name_on_both_sides_of_04_are_both_told() -> None:
    assert sides_of_04(item(s2__processing_baseline="02.12", s2__product_uri=NAME)) == ("02.12", "05.10")


def test_the_older_level_1_of_a_part_contradicts_nothing() -> None:
    told = item(s2__processing_baseline="05.00", s2__datatake_id="GS2B_20180419T095549_037185_N02.06")
    assert sides_of_04(told) == ("", "05.00")
    within = item(href=f"https://x.example.org/{NAME}/B02.tif", s2__datatake_id="GS2B_20180419T095549_037185_N02.06")
    assert sides_of_04(within) == ("", "05.10"), "nor one beside the product's folder"


def test_the_baseline_from_which_there_is_an_offset_is_on_its_side() -> None:
    assert sides_of_04(item(s2__processing_baseline="04.00")) == ("", "04.00")
    assert sides_of_04(item(s2__processing_baseline="03.99")) == ("03.99", "")


def test_a_users_own_processing_is_on_neither_side() -> None:
    assert sides_of_04(item(s2__processing_baseline="99.99")) == ("", "")
