"""The body of an answer, as it comes: `unpacked` for documents over httpx, `timely` for any.

A server may be hostile. What it packed is unpacked in pieces: some kilobytes that were packed twice fill all memory at
once where they are unpacked whole. And a server that sends a byte now and then never stalls, and never ends.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import httpx

from schemas.errors import DecodeError, TransientSourceError
from sources.openers import unsigned

ACCEPTED = {"Accept-Encoding": "gzip, deflate"}
"""What `unpacked` unpacks."""
PIECE_BYTES = 1 << 20
"""So much is unpacked at once."""
SLOWEST_BYTES_S = 1024
"""Below this a transfer is given up, as GDAL's are (`sources.openers.GDAL_OPTIONS`)..."""
PATIENT_S = 60.0
"""...once it was waited for so long."""
_PACKED = {"gzip": 47, "x-gzip": 47, "deflate": 15}
"""Content coding -> zlib's window bits."""

Clock = Callable[[], float]


def unpacked(answer: httpx.Response, url: str, now: Clock = time.monotonic) -> Iterator[bytes]:
    """The body in pieces, none of them much longer than `PIECE_BYTES`; a coding that is none counts as not stated.

    Args:
        answer: open, not yet read.
        url: for errors.
        now: seconds.

    Raises:
        DecodeError: packed more than once.
        TransientSourceError: see `timely`.
        httpx.HTTPError: the connection broke, or what came is not packed as the server says.
    """
    said = [coding.strip().lower() for coding in answer.headers.get("content-encoding", "").split(",")]
    codings = [coding for coding in said if coding in _PACKED]
    if len(codings) > 1:
        raise DecodeError("a document that is packed more than once", unsigned(url))
    parts = timely(answer.iter_raw(), url, now)
    return _inflated(parts, _PACKED[codings[0]]) if codings else parts


def timely(parts: Iterable[bytes], url: str, now: Clock = time.monotonic) -> Iterator[bytes]:
    """The parts of a body as they come, for as long as they come at some speed.

    Raises:
        TransientSourceError: they were waited for longer than `PATIENT_S`, at less than `SLOWEST_BYTES_S`.
    """
    waiting, waited, got = iter(parts), 0.0, 0
    while True:
        begin = now()
        part = next(waiting, None)
        if part is None:
            return
        waited, got = waited + now() - begin, got + len(part)
        if waited > PATIENT_S and got < waited * SLOWEST_BYTES_S:
            raise TransientSourceError(f"the server stalled: {got} bytes in {waited:.0f} s", unsigned(url))
        yield part


def _inflated(parts: Iterable[bytes], window_bits: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(window_bits)
    is_first = True
    for part in parts:
        rest = part
        while rest and not inflater.eof:
            try:
                piece = inflater.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                if not is_first or window_bits != 15:
                    raise httpx.DecodingError(str(error)) from error
                inflater = zlib.decompressobj(-15)  # some servers' "deflate" has no header
                is_first = False
                continue
            is_first = False
            rest = inflater.unconsumed_tail
            yield piece
    try:
        yield inflater.flush()
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error
