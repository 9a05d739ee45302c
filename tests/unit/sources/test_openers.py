"""Which addresses are opened, and that no secret leaves with them."""

from __future__ import annotations

import ipaddress
import pickle
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UnsupportedItemError
from sources.gdal_reads import gdal_reads
from sources.openers import (
    FORGET_OPTIONS,
    PlainOpener,
    driver_of,
    gdal_settings,
    is_private_host,
    note_failure,
    public_name,
    refusal,
    unsigned,
)
from sources.window import mark_refused

LOCAL = [
    "/etc/passwd",
    "file:///etc/passwd",
    "data/a.tif",
    "http://127.0.0.1/a.tif",
    "http://localhost:8080/a.tif",
    "http://[::1]/a.tif",
    "http://[::1%258.8.8.8]/a.tif",
    "http://[::ffff:10.0.0.1]/a.tif",
    "http://10.1.2.3/a.tif",
    "http://192.168.0.1/a.tif",
    "http://169.254.169.254/latest/meta-data",
    "http://2130706433/a.tif",
    "http://0x7f.1/a.tif",
    "http://127.1/a.tif",
    "http://intranet/a.tif",
    "https://nas.local/a.tif",
    "https://metadata.google.internal/x",
]
NEVER = [
    "/vsicurl/http://h/a.tif",
    "/vsizip//etc/a.zip",
    "vrt://a.tif?bands=1",
    "GTIFF_DIR:1:a.tif",
    "PG:dbname=secrets",
    "<VRTDataset/>",
    "ftp://h/a.tif",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("href", LOCAL)
def test_local_and_private_addresses_need_leave(href: str) -> None:
    assert refusal(href, allow_local=False)
    assert not refusal(href, allow_local=True)
    with pytest.raises(UnsupportedItemError):
        PlainOpener(allow_local=False).resolve(href)


@pytest.mark.parametrize("href", NEVER)
def test_gdals_own_language_is_never_opened(href: str) -> None:
    assert refusal(href, allow_local=True)
    assert refusal(href, allow_local=False)


@pytest.mark.parametrize("href", ["https://8.8.8.8/a.tif", "s3://bucket/a.tif", "https://example.org/a.tif"])
def test_public_addresses_are_opened_as_they_are(href: str) -> None:
    assert not refusal(href, allow_local=False)
    assert PlainOpener(allow_local=True).resolve(href) == href


def test_a_bucket_is_no_host_whose_name_is_looked_up() -> None:
    assert PlainOpener(allow_local=False).resolve("s3://localhost/a.tif") == "s3://localhost/a.tif"


@pytest.mark.parametrize(
    "href",
    [
        "http://u:secret@[bad/x?sig=secret",
        "http://a..b/x",
        f"https://{'a' * 70}.org/x",
        "https://evil.example.net\\@files.example.org/x",
        "https://evil.example.net\t@files.example.org/x",
        "https://evil.example.net @files.example.org/x",
        "https://files.example.org/x\r\ny",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(href: str) -> None:
    for allow_local in (True, False):
        assert refusal(href, allow_local).endswith("is no address")
        with pytest.raises(UnsupportedItemError, match="is no address"):
            PlainOpener(allow_local).resolve(href)
    assert "secret" not in unsigned(href)
    assert "secret" not in refusal(href, allow_local=True)


def test_file_addresses_become_paths() -> None:
    assert PlainOpener(allow_local=True).resolve("file:///data/with%20blank/a.tif") == "/data/with blank/a.tif"


def test_host_names_are_judged_as_they_stand() -> None:
    assert not is_private_host("earth-search.aws.element84.com")
    assert is_private_host("")


@pytest.mark.parametrize(
    ("v4", "is_private"), [("127.0.0.1", True), ("169.254.169.254", True), ("10.1.2.3", True), ("8.8.8.8", False)]
)
def test_an_address_within_an_address_is_judged(v4: str, is_private: bool) -> None:
    number = int(ipaddress.IPv4Address(v4))
    within = {"mapped": 0xFFFF << 32 | number, "compatible": number, "NAT64": 0x64FF9B << 96 | number}
    within |= {"6to4": 0x2002 << 112 | number << 80, "Teredo": 0x20010000 << 96 | number ^ 0xFFFFFFFF}
    for way, value in within.items():
        assert is_private_host(f"[{ipaddress.IPv6Address(value)}]") == is_private, way


def test_groups_and_sites_are_no_public_hosts() -> None:
    assert all(map(is_private_host, ("224.0.0.1", "ff02::1", "fec0::1", "::", "::1", "fd00::1", "fe80::1")))
    assert not is_private_host("2a00:1450:4001:80e::200e")


@pytest.mark.parametrize(
    ("signed", "plain"),
    [
        ("https://h/a.tif?st=1&se=2&sp=r&sv=3&sr=c&skoid=x&sig=secret", "https://h/a.tif"),
        ("https://h/a.tif?X-Amz-Signature=secret&X-Amz-Date=1&versionId=7", "https://h/a.tif?versionId=7"),
        ("https://name:secret@h:8080/a.tif", "https://h:8080/a.tif"),
        ("https://h/odata/v1/Products(1)/$value", "https://h/odata/v1/Products(1)/$value"),
        ("/data/a.tif", "/data/a.tif"),
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
        ("s3://bucket/what?.tif", "s3://bucket/what?.tif"),
        ("s3://key:secret@bucket/a.tif", "s3://bucket/a.tif"),
        ("abfs://box@account/a.tif?sv=3&sig=secret", "abfs://box@account/a.tif"),
        ("s3://bucket/a.tif?versionId=7&X-Amz-Signature=secret", "s3://bucket/a.tif"),
        ("https://h/a.tif?Subscription-Key=secret&n=1", "https://h/a.tif?n=1"),
        ("https://h/a.tif?password=secret&client_secret=x&jwt=y", "https://h/a.tif"),
        ("https://h/a%20b.tif?key=secret&KEY=x&auth=y&n=1", "https://h/a%20b.tif?n=1"),
    ],
)
def test_signatures_and_names_are_taken_off(signed: str, plain: str) -> None:
    assert unsigned(signed) == plain
    assert unsigned(unsigned(signed)) == plain


def test_a_key_that_nobody_makes_anew_stays_in_what_is_read_and_in_nothing_else() -> None:
    href = "https://8.8.8.8/a%20b.tif?sig=x&key=my-own"
    item: dict[str, Any] = {"id": "i", "assets": {"a": {"href": href}}}
    mark_refused(item, allow_local=False)
    (asset,) = item["assets"].values()
    assert asset["href"] == "https://8.8.8.8/a%20b.tif?key=my-own"
    assert public_name(asset["href"]) == unsigned(asset["href"]) == "https://8.8.8.8/a%20b.tif"


def test_a_file_beside_a_catalog_is_found_by_its_name_as_the_web_writes_it(tmp_path: Path) -> None:
    there = tmp_path / "a b.tif"
    there.touch()
    for href in (str(there), str(tmp_path / "a%20b.tif"), f"file://{tmp_path}/a%20b.tif"):
        assert PlainOpener().resolve(href) == str(there)
    written = tmp_path / "a%20b.tif"
    written.touch()
    assert PlainOpener().resolve(str(written)) == str(written)


def test_an_opener_pickles_and_gives_gdal_no_retries_and_no_listing() -> None:
    opener = pickle.loads(pickle.dumps(PlainOpener(allow_local=False)))
    options = opener.gdal_options()
    assert (options["GDAL_HTTP_MAX_RETRY"], options["GDAL_DISABLE_READDIR_ON_OPEN"]) == ("0", "EMPTY_DIR")
    options["GDAL_HTTP_MAX_RETRY"] = "9"
    assert opener.gdal_options()["GDAL_HTTP_MAX_RETRY"] == "0"


def test_the_format_follows_the_address_alone() -> None:
    assert driver_of("s3://b/B02.jp2") == "JP2OpenJPEG"
    assert driver_of("https://h/B02.tif?x=a.jp2") == "GTiff"
    assert (
        driver_of("https://zipper.example.org/odata/v1/Products(7)/Nodes(x.SAFE)/Nodes(B02.jp2)/$value")
        == "JP2OpenJPEG"
    )
    assert driver_of("https://zipper.example.org/odata/v1/Products(7)/Nodes(x.jp2)/Nodes(B02.tif)/$value") == "GTiff"


def test_gdals_memory_of_a_failure_is_passed_by_until_a_read_goes_well() -> None:
    opener, href = PlainOpener(), "http://127.0.0.1/once-failed.tif"
    note_failure(href)
    assert gdal_settings(opener, [href]).items() >= FORGET_OPTIONS.items()
    with pytest.raises(OSError, match="again"), gdal_reads(opener, [href]):
        raise OSError("again")
    assert gdal_settings(opener, [href]).items() >= FORGET_OPTIONS.items()
    with gdal_reads(opener, [href]):
        pass
    assert not gdal_settings(opener, [href]).keys() & FORGET_OPTIONS.keys()
