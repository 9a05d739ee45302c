"""Bytes of a file by range, over HTTP or from disk: `fetch_range`, and what each failure means.

One pool of kept connections for the process. Every address, redirects included, goes through the opener, which refuses
those that must not be opened; a signature that the server refuses is renewed once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.util import parse_url

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    DecodeError,
    SourceError,
    TransientSourceError,
)
from schemas.scene import Opener
from sources.bodies import timely
from sources.connect import PublicPool, PublicSecurePool
from sources.faults import error_of_status
from sources.openers import is_in_clear, redirected, unsigned

CONNECT_SECONDS = 15.0
SILENT_SECONDS = 30.0
"""A server that sends nothing for so long has stalled."""
CONNECTIONS_PER_HOST = 32
REDIRECTS = 5
WHOLE_FILE_BYTES = 16 << 20
"""A server without ranges may send a file of at most this size whole."""
PART_BYTES = 1 << 20
"""No more of a body is taken at once."""
ERROR_BYTES = 4096
"""So much of an error's document is looked at."""
_NEVER_AGAIN = urllib3.Retry(False, redirect=False)
"""Ours are counted (`sources.retry`)."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Bytes:
    """A range that was read."""

    data: bytes
    """Its bytes; fewer than asked for where the file ends."""
    stamp: str
    """Changes when the file does: size, and the server's ETag or the disk's time."""


def is_fetchable(resolved: str) -> bool:
    """Whether `fetch_range` can read an address that an opener resolved: HTTP, or a local path."""
    return urlsplit(resolved).scheme in ("http", "https", "")


def is_on_disk(resolved: str) -> bool:
    """Whether an address that an opener resolved is a local path."""
    return not urlsplit(resolved).scheme


def fetch_range(href: str, opener: Opener, offset: int, length: int) -> Bytes:
    """Bytes of a file.

    Args:
        href: unsigned address, as refs carry it; the one that errors name.
        opener: signs it.
        offset: first byte.
        length: how many.

    Raises:
        SourceError: as `sources.faults.error_of_status` says of a status; TransientSourceError for a connection that
            broke or stalled and for a range that is not the one asked for; DecodeError where the file ends before
            ``offset`` or the server knows no ranges.
    """
    resolved = opener.resolve(href)
    if is_on_disk(resolved):
        return _from_disk(resolved, unsigned(href), offset, length)
    try:
        return _over_http(href, resolved, opener, offset, length)
    except AccessDeniedError:
        opener.refresh(href)
        again = opener.resolve(href)
        if again == resolved and not opener.headers(href):
            raise
        return _over_http(href, again, opener, offset, length)


def stamp_on_disk(path: str) -> str:
    """The stamp that a local file has now; empty where it cannot be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return _stamp(status)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"


def _from_disk(path: str, name: str, offset: int, length: int) -> Bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return Bytes(os.pread(descriptor, length, offset), _stamp(os.fstat(descriptor)))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise AssetMissingError("no such file", name) from error
    except PermissionError as error:
        raise AccessDeniedError("permission denied", name) from error
    except OSError as error:
        raise TransientSourceError(f"the disk: {error.strerror}", name) from error


def _over_http(href: str, url: str, opener: Opener, offset: int, length: int) -> Bytes:
    wanted = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
    secret = dict(opener.headers(href))
    for _ in range(REDIRECTS + 1):
        with opener.slot(href):
            try:
                answer = _asked(url, opener.allow_local, wanted | secret)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise TransientSourceError(_reason(error), unsigned(href)) from error
            try:
                location = answer.headers.get("Location")
                if answer.status not in (301, 302, 303, 307, 308) or location is None:
                    return _body(answer, href, offset, length)
            finally:
                answer.release_conn()
        further = redirected(url, location)
        if _server_of(further) != _server_of(url) or is_in_clear(further):
            secret = {}
        url = opener.resolve(further)
        if urlsplit(url).scheme not in ("http", "https"):
            raise SourceError("a redirect to something that is not HTTP", unsigned(href))
    raise SourceError(f"more than {REDIRECTS} redirects", unsigned(href))


def _server_of(url: str) -> tuple[str | None, int | None]:
    """Host and port: what listens at another port of a host is another server."""
    parts = parse_url(url)
    return parts.host, parts.port or {"http": 80, "https": 443}.get(parts.scheme or "")


def _body(answer: urllib3.BaseHTTPResponse, href: str, offset: int, length: int) -> Bytes:
    status = answer.status
    if status == 416:
        answer.close()
        raise DecodeError(f"not readable as a raster: the file ends before byte {offset}", unsigned(href))
    if status == 200:
        size = answer.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > WHOLE_FILE_BYTES:
            answer.close()
            raise DecodeError("the server knows no byte ranges", unsigned(href))
    elif status != 206:
        is_spent = status == 400 and _says_spent(answer)
        answer.close()
        if is_spent:
            raise AccessDeniedError("HTTP 400, the session token ran out", unsigned(href))
        raise error_of_status(status, unsigned(href), {key.lower(): value for key, value in answer.headers.items()})
    limit = max(length, WHOLE_FILE_BYTES if status == 200 else 0)
    said = answer.headers.get("Content-Length", "")
    try:
        data = b"".join(timely(_parts(answer, limit + 1), href))
    except (urllib3.exceptions.HTTPError, OSError) as error:
        answer.close()
        raise TransientSourceError(_reason(error), unsigned(href)) from error
    if len(data) > limit:
        answer.close()  # what else it would send is not waited for
    if said.isdigit() and int(said) != len(data):
        answer.close()
        raise TransientSourceError("the connection broke", unsigned(href))
    etag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    if status == 200:
        return Bytes(data[offset : offset + length], f"{len(data)} {etag}")
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != offset or int(found[2]) - offset + 1 != len(data) or len(data) > length:
        raise TransientSourceError("the server sent another range than was asked for", unsigned(href))
    if len(data) < length and found[3].isdigit() and offset + len(data) < int(found[3]):
        raise TransientSourceError("the body was cut off", unsigned(href))
    return Bytes(data, f"{found[3]} {etag}")


def _parts(answer: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
    """A body as it comes, up to so many bytes of it."""
    while most and (part := answer.read1(min(most, PART_BYTES), decode_content=False)):
        most -= len(part)
        yield part


def _says_spent(answer: urllib3.BaseHTTPResponse) -> bool:
    """Whether a store refuses a session token that was good before: S3 answers 400 to that, and 403 to all else."""
    try:
        body = answer.read(ERROR_BYTES, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError):
        return False
    return any(f"<Code>{code}</Code>".encode() in body for code in ("ExpiredToken", "TokenRefreshRequired"))


def _asked(url: str, allow_local: bool, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    """The beginning of an answer; its body is still to be read."""
    route = _route(url, allow_local)
    return route.pool.urlopen(
        "GET",
        route.target,
        headers=headers,
        redirect=False,
        retries=_NEVER_AGAIN,
        preload_content=False,
        assert_same_host=False,
    )


@dataclass(frozen=True, slots=True)
class _Route:
    """How an address is asked for."""

    pool: urllib3.HTTPConnectionPool | urllib3.ProxyManager
    """Kept connections to its host, or to a proxy."""
    target: str
    """What is asked for there."""


@lru_cache(maxsize=8192)
def _route(url: str, allow_local: bool) -> _Route:
    """Worked out once per file, of which many ranges are read."""
    parts = parse_url(url)
    proxy = _proxy_for(parts.scheme or "", parts.host or "")
    if proxy:  # it is the proxy that looks names up
        return _Route(_proxy(proxy), url)
    return _Route(_pool(parts.scheme or "", parts.host or "", parts.port, allow_local), parts.request_uri)


@lru_cache(maxsize=1024)
def _proxy_for(scheme: str, host: str) -> str:
    """The proxy that the environment names for a host; looked up once, it walks all of the environment."""
    proxy = getproxies().get(scheme, "")
    return "" if not proxy or proxy_bypass(host) else proxy


@lru_cache(maxsize=4)
def _proxy(proxy: str) -> urllib3.ProxyManager:
    return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS_PER_HOST, num_pools=64, timeout=_timeout())


@lru_cache(maxsize=64)
def _pool(scheme: str, host: str, port: int | None, allow_local: bool) -> urllib3.HTTPConnectionPool:
    plain: type[urllib3.HTTPConnectionPool] = urllib3.HTTPConnectionPool if allow_local else PublicPool
    secure: type[urllib3.HTTPConnectionPool] = urllib3.HTTPSConnectionPool if allow_local else PublicSecurePool
    kind = secure if scheme == "https" else plain
    return kind(host, port, maxsize=CONNECTIONS_PER_HOST, timeout=_timeout())


def _timeout() -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENT_SECONDS)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "no connection"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "the server stalled"
    if isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.IncompleteRead)):
        return "the connection broke"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "no secure connection"
    return "no connection"
