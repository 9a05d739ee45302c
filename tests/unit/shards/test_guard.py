from __future__ import annotations

import pytest

from shards.guard import findings, masked, redact, without_query
from sources.openers import unsigned


@pytest.mark.parametrize(
    "text",
    [
        "see https://h/a.tif?sv=2026&sig=x%2B",
        "https://h/a?X-Amz-Signature=1",
        '"https://user:word@host/x"',
        "Authorization: Bearer abcdefghijklmnopqrst",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2",
        "-----BEGIN RSA PRIVATE KEY-----",
        "(/home/me/x.tif)",
        '"/srv/x/y"',
        "file:///x/y",
        "C:\\Users\\me\\x",
        "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
        "AKIAABCDEFGHIJKLMNOP",
        "(ASIAABCDEFGHIJKLMNOP)",
    ],
)
def test_what_may_not_be_published_is_found_and_redacted(text: str) -> None:
    assert findings(text)
    assert not findings(redact(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://stac.example.org/collections/s2/items/x",
        "https://host/data/tmp/home/x.tif",
        "versions/20261120T101500Z-3f9a1c0b/chips.parquet",
        "../../shards/train/00000-0123456789abcdef.tar",
        "risk-adjusted-tasks-are-not-keys",
        "1/2 of the chip, and/or/none",
        "</option>",
        "https://h/search?collections=a&limit=10",
        "xAKIAABCDEFGHIJKLMNOP",
        "AKIAABCDEFGHIJKLMNOPQ",
        "aBearer abcdefghijklmnopqrst",
        "keyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2",
        "abc:\\Users\\me",
    ],
)
def test_what_is_harmless_passes(text: str) -> None:
    assert findings(text) == []
    assert "<path>" not in redact(text)


def test_pictures_are_not_searched_but_what_is_around_them_is() -> None:
    page = '<img src="data:image/png;base64,AAAA/tmp/AKIAIOSFODNN7EXAMPLE+/=">'
    assert findings(page) == []
    assert findings(page + " /tmp/x/y")


def test_the_datasets_own_folder_is_forbidden() -> None:
    folders = ["/very/special/place", "/"]
    assert findings("made in /very/special/place", folders) == ["the local path '/very/special/place'"]
    assert findings("made elsewhere / by others", folders) == []


def test_addresses_lose_query_fragment_and_password() -> None:
    assert without_query("s3://me:pw@b/k.tif?x=1#f") == "s3://b/k.tif"
    assert without_query("https://h/@2x.png") == "https://h/@2x.png"


def test_lines_of_a_log_keep_addresses_and_lose_their_secrets() -> None:
    line = 'HTTP Request: GET https://h/a%20b.tif?page=2&sig=abc%2B&key=mine "200 OK" Bearer abcdefghijklmnopqrst'
    said = masked(line)
    assert said == 'HTTP Request: GET https://h/a%20b.tif?page=2&sig=<secret>&key=<secret> "200 OK" <secret>'
    assert masked("https://h/a?client_secret=x") == "https://h/a?client_secret=<secret>"


@pytest.mark.parametrize(
    "key",
    ["X-Amz-Security-Token", "x-oss-signature", "OSSAccessKeyId", "security-token", "q-signature", "hdnts", "hmac",
     "pwd", "refresh_token", "subscriptionKey"],
)  # fmt: skip
def test_signatures_of_other_stores_and_session_tokens_are_secrets_too(key: str) -> None:
    address = f"https://h.example.org/a.tif?page=2&{key}=canary"
    assert masked(f"GET {address} HTTP/1.1") == f"GET https://h.example.org/a.tif?page=2&{key}=<secret> HTTP/1.1"
    assert findings(address)
    assert unsigned(address) == "https://h.example.org/a.tif?page=2"
