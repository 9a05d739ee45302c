"""What went wrong while reading, as one of our errors: `as_source_error` and `error_of_status`.

GDAL says little: an HTTP status in a message, or only that a read failed. Where the text does not tell, one small range
request asks the server again.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    DecodeError,
    SourceError,
    ThrottledError,
    TransientSourceError,
    UnsupportedItemError,
)
from sources.connect import refuses_private
from sources.openers import MOST_REDIRECTS, note_failure, redirected, refusal_now, unsigned

log = logging.getLogger(__name__)

READ_ERRORS = (RasterioError, CRSError, CPLE_BaseError, OSError, UnicodeError)
"""What rasterio raises of a file that cannot be opened, read or warped; GDAL's own errors come out of a warp as they
are, and the last where names in a header are no text."""
_STATUS = re.compile(
    r"(?:HTTP response code:?\s*|response_code=|HTTP error code\s*:?\s*|status(?:_code)?[ =:]+)(\d{3})", re.I
)
_TRANSIENT = re.compile(
    r"timed? ?out|timeout|connection (?:reset|refused|aborted)|couldn'?t connect|could not connect|empty reply|"
    r"recv failure|send failure|operation too slow|temporarily|could not resolve|couldn'?t resolve|SSL_ERROR|"
    r"transfer closed|partial file|server disconnected",
    re.I,
)
_MISSING = re.compile(r"no such file|does not exist in the file system|NoSuchKey|NoSuchBucket", re.I)
_DENIED = re.compile(
    r"AccessDenied|access denied|permission denied|InvalidAccessKeyId|SignatureDoesNotMatch|no valid credentials",
    re.I,
)


def as_source_error(error: BaseException, href: str, resolved: str) -> SourceError:
    """The error that a failed open or read of a raster means.

    Args:
        error: what rasterio, stackstac or odc-stac raised.
        href: unsigned address, the one that is named.
        resolved: the address that was read, asked again where the messages do not tell.
    """
    note_failure(href)
    text = _whole_text(error)
    url = unsigned(href)
    status = _status_of(text)
    headers: Mapping[str, str] = {}
    is_http = urlsplit(resolved).scheme in ("http", "https")
    if is_http and (status is None or status in (429, 503)) and not _TRANSIENT.search(text):
        asked, headers = _ask(resolved)
        status = status if status is not None else asked
        if asked == 0 and status in (None, 0):
            return TransientSourceError("no connection", url)
    if status is not None and status >= 400:
        return error_of_status(status, url, headers)
    if _TRANSIENT.search(text):
        return TransientSourceError(_shorten(text), url)
    if _DENIED.search(text):
        return AccessDeniedError(_shorten(text), url)
    if not is_http and (_MISSING.search(text) or (not urlsplit(resolved).scheme and not os.path.exists(resolved))):
        return AssetMissingError("no such file", url)
    return DecodeError(f"not readable as a raster: {_shorten(text)}", url)


def error_of_status(status: int, url: str, headers: Mapping[str, str] | None = None) -> SourceError:
    """The error that an HTTP status means.

    A ``Retry-After``, in seconds or as a date, is kept on the `ThrottledError` as ``retry_after_s``.
    """
    what = f"HTTP {status}"
    if status in (404, 410):
        return AssetMissingError(what, url)
    if status in (401, 403, 407):
        return AccessDeniedError(what, url)
    if status in (429, 503):
        throttled = ThrottledError(what, url)
        throttled.retry_after_s = _retry_after(headers or {})
        return throttled
    if status in (408, 425) or status >= 500:
        return TransientSourceError(what, url)
    return SourceError(what, url)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait; a date is counted from the server's own ``Date``, so that two clocks need not agree."""
    asked = headers.get("retry-after", "").strip()
    try:
        seconds = float(asked)
        return seconds if 0.0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(asked)
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _ask(url: str) -> tuple[int, Mapping[str, str]]:
    """Status and headers of a request for one byte; 0 where no connection came about.

    A redirect of a public host to this machine or a private network is not followed: its status is the answer.
    """
    allow_local = bool(refusal_now(url, allow_local=False))
    try:
        with httpx.Client(timeout=15.0, follow_redirects=False) as client:
            for _ in range(MOST_REDIRECTS):
                extensions = {} if allow_local else {"trace": refuses_private(url)}
                with client.stream("GET", url, headers={"Range": "bytes=0-0"}, extensions=extensions) as answer:
                    if not answer.has_redirect_location:
                        break
                try:
                    there = redirected(url, answer.headers["location"])
                except UnsupportedItemError:
                    break
                if urlsplit(there).scheme not in ("http", "https") or refusal_now(there, allow_local):
                    break
                url = there
            return answer.status_code, answer.headers
    except (httpx.HTTPError, httpx.InvalidURL, UnsupportedItemError) as error:
        log.debug("asking %s again: %r", unsigned(url), error)
        return 0, {}


def _status_of(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _whole_text(error: BaseException) -> str:
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 8:
        parts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return " | ".join(parts)


def _shorten(text: str) -> str:
    cleaned = re.sub(r"\S*(?:https?://|/vsi)\S+", "(address)", text)
    return cleaned[:200]
