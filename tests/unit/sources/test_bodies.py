"""Bodies of hostile servers: what is packed twice, what never ends, what comes byte by byte."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

import sources.bodies
from schemas.errors import SourceError, TransientSourceError
from sources.bodies import PATIENT_S, PIECE_BYTES, SLOWEST_BYTES_S, timely, unpacked
from sources.documents import read_document
from sources.fetch import fetch_range
from sources.openers import PlainOpener
from sources.web import WebSession
from tests.loopback import serving

OPENER = PlainOpener(allow_local=True)
TEXT = b'{"a": [1, 2, 3]}' * 4


def raw_deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


@contextmanager
def answering(coding: str, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


def by_web(url: str) -> bytes:
    return WebSession(OPENER, url, allow_local=True).request(url).content


def by_document(url: str) -> bytes:
    return read_document(url, OPENER)


READERS = pytest.mark.parametrize("read", [by_web, by_document])


@READERS
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflated(TEXT)),
        ("identity", TEXT),
        ("aws-chunked", TEXT),
        ("", TEXT),
    ],
)
def test_a_body_is_unpacked_as_the_server_says(coding: str, body: bytes, read: Callable[[str], bytes]) -> None:
    with answering(coding, body) as url:
        assert read(url) == TEXT


@READERS
def test_a_body_that_is_packed_twice_is_refused(read: Callable[[str], bytes]) -> None:
    with answering("gzip, gzip", gzip.compress(gzip.compress(TEXT))) as url, pytest.raises(SourceError, match="once"):
        read(url)


@READERS
def test_what_is_not_packed_as_it_says_is_a_failure_by_name(read: Callable[[str], bytes]) -> None:
    with answering("gzip", TEXT) as url, pytest.raises(SourceError, match=r"DecodingError"):
        read(url)


def test_what_is_packed_to_a_thousandth_comes_in_pieces() -> None:
    packed = gzip.compress(bytes(40 * PIECE_BYTES), 9)
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(packed))
    sizes = [len(piece) for piece in unpacked(answer, "")]
    assert max(sizes) <= PIECE_BYTES
    assert sum(sizes) == 40 * PIECE_BYTES


def test_a_body_that_drips_is_given_up_and_one_that_flows_is_not() -> None:
    clock = itertools.count(0.0, 20.0)
    with pytest.raises(TransientSourceError, match="stalled"):
        list(timely(itertools.repeat(b"a"), "http://h/a", lambda: next(clock)))
    flow = itertools.count(0.0, 20.0)
    parts = [bytes(20 * SLOWEST_BYTES_S)] * 10
    assert 20.0 * len(parts) > PATIENT_S
    assert list(timely(parts, "http://h/a", lambda: next(flow))) == parts


@pytest.mark.parametrize("read", [by_web, by_document, lambda url: fetch_range(url, OPENER, 0, len(TEXT))])
def test_every_transfer_is_watched(read: Callable[[str], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.bodies, "PATIENT_S", 0.0)
    monkeypatch.setattr(sources.bodies, "SLOWEST_BYTES_S", 1 << 60)
    with answering("", TEXT) as url, pytest.raises(TransientSourceError, match="stalled"):
        read(url)
