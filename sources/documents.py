"""Small files that are read whole: `read_document` for their bytes, `parse_xml` for a tree of elements.

What comes from a catalog may be hostile: a redirect is followed only to an address that the opener allows, a document
ends at a limit, and XML with a document type (entity bombs, external entities) is refused before anything expands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import fsspec
import httpx

from schemas.errors import AccessDeniedError, AssetMissingError, DecodeError, TransientSourceError
from schemas.scene import Opener
from sources.bodies import ACCEPTED, unpacked
from sources.connect import refuses_private
from sources.faults import error_of_status
from sources.openers import redirected, unsigned

LIMIT_BYTES = 64 * 1024 * 1024
"""The annotation of a Sentinel-1 product has 3 MB, an EnMAP product's metadata 1 MB."""
LONGEST_CHAIN = 5
"""Redirects that are followed."""
TIMEOUT_S = 60.0
_BLOCK = 256 * 1024


def read_document(href: str, opener: Opener, limit: int = LIMIT_BYTES) -> bytes:
    """The bytes of a document.

    Args:
        href: any address that the opener allows.
        opener: signs the address; asked again for every redirect.
        limit: bytes; a longer document is refused.

    Raises:
        AssetMissingError, AccessDeniedError, ThrottledError, TransientSourceError: as the server said.
        DecodeError: longer than the limit.
        UnsupportedItemError: the opener refuses the address, or the one that a redirect names.
    """
    try:
        return b"".join(blocks_of(href, opener, limit))
    except AccessDeniedError:
        opener.refresh(href)
        return b"".join(blocks_of(href, opener, limit))


def blocks_of(href: str, opener: Opener, limit: int) -> Iterator[bytes]:
    """The bytes of a file, in blocks; see `read_document`."""
    address = opener.resolve(href)
    seen = 0
    try:
        if urlsplit(address).scheme in ("http", "https"):
            with _answer(address, href, opener) as answer:
                for block in unpacked(answer, href):
                    seen += len(block)
                    _check_limit(seen, limit, href)
                    yield block
        else:
            with fsspec.open(address, "rb") as stored:
                while block := stored.read(_BLOCK):
                    seen += len(block)
                    _check_limit(seen, limit, href)
                    yield block
    except FileNotFoundError as error:
        raise AssetMissingError("no such file", unsigned(href)) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise TransientSourceError(f"the transfer broke off: {type(error).__name__}", unsigned(href)) from error


@contextmanager
def _answer(address: str, href: str, opener: Opener) -> Iterator[httpx.Response]:
    """An open answer of status 200; every redirect on the way is one that the opener allows, with headers of its own.

    Raises:
        SourceError: as the server said; UnsupportedItemError for a redirect that is not allowed.
    """
    headers = opener.headers(href)
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client:
        for _ in range(LONGEST_CHAIN + 1):
            extensions = {} if opener.allow_local else {"trace": refuses_private(address)}
            with client.stream("GET", address, headers={**ACCEPTED, **headers}, extensions=extensions) as answer:
                if not answer.is_redirect:
                    if answer.status_code != 200:
                        raise error_of_status(answer.status_code, unsigned(href), answer.headers)
                    yield answer
                    return
                there = redirected(address, answer.headers["location"])
                address, headers = opener.resolve(there), opener.headers(there)
                if urlsplit(address).scheme not in ("http", "https"):
                    raise DecodeError("redirected away from HTTP", unsigned(href))
    raise DecodeError(f"more than {LONGEST_CHAIN} redirects", unsigned(href))


def parse_xml(document: bytes, url: str) -> ElementTree.Element:
    """The root element of an XML document without a document type.

    >>> parse_xml(b"<a><b>1</b></a>", "").findtext("b")
    '1'

    Raises:
        DecodeError: no XML, or one that declares a document type.
    """
    parser = ElementTree.XMLParser(target=_PlainTree(url))
    try:
        parser.feed(document)
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise DecodeError(f"is no XML: {error}", unsigned(url)) from error
    return root


class _PlainTree(ElementTree.TreeBuilder):
    """Builds a tree, and stops where a document type begins: entities can be declared nowhere else."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def doctype(self, *_: Any) -> None:
        """Called at ``<!DOCTYPE``."""
        raise DecodeError("XML with a document type is not read", unsigned(self._url))


def _check_limit(seen: int, limit: int, href: str) -> None:
    if seen > limit:
        raise DecodeError(f"longer than {limit} bytes", unsigned(href))
