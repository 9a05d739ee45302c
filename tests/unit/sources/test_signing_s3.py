"""Addresses of object storage are signed as botocore and obstore sign them, for any key, bucket, token and moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import boto3
import botocore.auth
import obstore
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import S3Store

from schemas.recipe import Credential
from sources.credentials import Login, Reference
from sources.openers import PlainOpener, unsigned
from sources.signing_s3 import S3Signer, bucket_and_key, object_url, presigned
from tests.unit.sources.gates import TestVault

KEYS = ("AKIDEXAMPLE", "canary/secret+with=signs")
VAULT = TestVault(logins=(("none", Login("a", "b")),), profiles=(("mine", (*KEYS, "")),))
MOMENTS = st.datetimes(datetime(2013, 1, 1), datetime(2060, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))
TOKENS = st.one_of(st.none(), st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=60))
OBJECT_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/") and not any(part in (".", "..") for part in key.split("/"))
)
ENDPOINTS = [
    ("usgs-landsat", "us-west-2", None),
    ("sentinel.of.many.dots", "eu-central-1", None),
    ("eodata", "default", "https://eodata.dataspace.copernicus.eu"),
    ("bucket", "us-east-1", "http://127.0.0.1:9000"),
]


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Botocore's clock stands."""
    with patch.object(botocore.auth, "get_current_datetime", lambda: moment.replace(tzinfo=None)):
        yield


@cache
def client(region: str, endpoint: str | None, token: str | None) -> Any:
    is_path = endpoint is not None
    style = {"addressing_style": "path" if is_path else "virtual"}
    return boto3.client(
        "s3", region_name=region, endpoint_url=endpoint, aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1],
        aws_session_token=token, config=Config(signature_version="s3v4", s3=style),
    )  # fmt: skip


@pytest.mark.parametrize(("bucket", "region", "endpoint"), ENDPOINTS)
@given(key=OBJECT_KEYS, moment=MOMENTS)
@example(key="collection02/level-2/LC08 (1)/a+b=c&d;e@f:g,h$i!j*k'l~m.TIF", moment=datetime(2024, 2, 29, tzinfo=UTC))
@example(key="ä/日本/%41.tif", moment=datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC))
def test_an_object_is_addressed_and_signed_as_botocore_does(
    bucket: str, region: str, endpoint: str | None, key: str, moment: datetime
) -> None:
    with at(moment):
        theirs = client(region, endpoint, None).generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=1234
        )
    ours = presigned(object_url(bucket, key, region, endpoint), KEYS, region, moment, 1234)
    assert same(ours, theirs)


@given(key=OBJECT_KEYS)
def test_amazons_address_of_an_object_is_the_object(key: str) -> None:
    url = object_url("b", key, "us-west-2", None)
    assert bucket_and_key(url) == ("b", key)
    assert object_url(*bucket_and_key(url), "us-west-2", None) == url


@given(
    token=TOKENS,
    moment=MOMENTS,
    region=st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1", "default"]),
    life=st.integers(1, 604_800),
    requester_pays=st.booleans(),
    key=OBJECT_KEYS,
    port=st.sampled_from(["", ":9000"]),
)
def test_tokens_requester_pays_and_ports_are_signed_as_botocore_does(
    token: str | None, moment: datetime, region: str, life: int, requester_pays: bool, key: str, port: str
) -> None:
    url = f"https://store.example.org{port}/bucket/{quote(key, safe='/-_.~')}"
    request = AWSRequest("GET", url, params={"x-amz-request-payer": "requester"} if requester_pays else {})
    with at(moment):
        S3SigV4QueryAuth(Credentials(*KEYS, token), "s3", region, life).add_auth(request)
    keys = (*KEYS, token) if token else KEYS
    assert same(presigned(url, keys, region, moment, life, requester_pays), request.url)


def same(ours: str, theirs: str) -> bool:
    """One address: host and path letter by letter, the query in any order."""
    mine, other = urlsplit(ours), urlsplit(theirs)
    is_place = (mine.scheme, mine.netloc, mine.path) == (other.scheme, other.netloc, other.path)
    return is_place and sorted(parse_qsl(mine.query)) == sorted(parse_qsl(other.query))


def test_obstore_signs_the_same() -> None:
    keys = (*KEYS, "tok/en+=")
    store = S3Store(
        "b", access_key_id=keys[0], secret_access_key=keys[1], session_token=keys[2], region="eu-central-1",
        virtual_hosted_style_request=True,
    )  # fmt: skip
    theirs = obstore.sign(store, "GET", "a b/c+d.tif", timedelta(seconds=3600))
    stamp = parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0]
    moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    url = object_url("b", "a b/c+d.tif", "eu-central-1", None)
    assert parse_qs(urlsplit(theirs).query) == parse_qs(
        urlsplit(presigned(url, keys, "eu-central-1", moment, 3600)).query
    )


@given(st.text(st.characters(codec="ascii", exclude_characters="\x00#?%"), min_size=1, max_size=20))
def test_a_signed_object_is_unsigned_to_its_address(key: str) -> None:
    credential = Credential(kind="s3", profile="mine", hosts="b", region="eu-central-1", requester_pays=True)
    if urlsplit(f"s3://b/k{key}").path != f"/k{key}":
        return  # control characters that no address holds
    signer = S3Signer(Reference("c", credential, VAULT), PlainOpener(), lambda: 1e9)
    signed = signer.resolve(f"s3://b/k{key}")
    assert unsigned(signed).startswith("https://b.s3.eu-central-1.amazonaws.com/k")
    assert "?" not in unsigned(signed)
    assert parse_qs(urlsplit(signed).query)["x-amz-request-payer"] == ["requester"]


def test_a_signed_address_stays_the_same_for_a_while_and_is_always_good() -> None:
    time = [1_000_000_000.0]
    signer = S3Signer(Reference("c", Credential(kind="s3", profile="mine"), VAULT), PlainOpener(), lambda: time[0])
    addresses = set()
    for _ in range(200):
        address = signer.resolve("s3://b/k")
        addresses.add(address)
        signed_at = datetime.strptime(parse_qs(urlsplit(address).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")
        age = time[0] - signed_at.replace(tzinfo=UTC).timestamp()
        assert 0 <= age < 1800
        time[0] += 60
    assert len(addresses) <= 8
