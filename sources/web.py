"""Documents over HTTP: `WebSession` asks politely, with the right secret for each host, and says what went wrong.

Redirects are followed here, step by step: each step is checked like the first address, waits for its own host's limit,
and carries the headers of its own host alone. What a name led to is looked at once more when the connection stands,
before anything is sent: between two lookups its owner could change the answer (DNS rebinding).
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from schemas.errors import AccessDeniedError, CatalogError, SourceError, TransientSourceError, UnsupportedItemError
from schemas.scene import Opener
from sources.bodies import ACCEPTED, unpacked
from sources.connect import refuses_private
from sources.faults import error_of_status
from sources.openers import MOST_REDIRECTS, redirected, refusal_now, unsigned

TIMEOUT_S = 60.0
MOST_BYTES = 256 * 1024 * 1024
"""A document that is longer once it is unpacked is not read on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server gave."""

    content: bytes
    """Body, unpacked."""
    headers: Mapping[str, str]
    """Headers of the last step."""
    url: str
    """Address of the last step."""


class WebSession:
    """Requests for JSON documents, by any number of threads. Pickles without its connections.

    Args:
        opener: secrets and limits by host.
        root: the address that the recipe names; its own host may be this machine.
        allow_local: whether links and redirects may lead to this machine or a private network.
    """

    def __init__(self, opener: Opener, root: str, allow_local: bool = False) -> None:
        self.opener, self.root, self.allow_local = opener, root, allow_local
        self._client: httpx.Client | None = None

    def __reduce__(self) -> tuple[type[WebSession], tuple[Opener, str, bool]]:
        return type(self), (self.opener, self.root, self.allow_local)

    def request(
        self, url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer; a refusal (401, 403) is answered once with a fresh secret.

        Raises:
            ThrottledError, TransientSourceError, AccessDeniedError, AssetMissingError, SourceError: by status.
            UnsupportedItemError: an address that must not be asked.
        """
        try:
            return self._follow(url, method, body, headers or {})
        except AccessDeniedError:
            if not self.opener.headers(url):
                raise
            self.opener.refresh(url)
            return self._follow(url, method, body, headers or {})

    def json(self, url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The document.

        Raises:
            CatalogError: it is no JSON, or longer than `MOST_BYTES`.
        """
        answer = self.request(url, method, body, headers)
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise CatalogError("is no JSON", unsigned(url)) from error

    def _follow(self, url: str, method: str, body: Any, headers: Mapping[str, str]) -> Answer:
        for _ in range(MOST_REDIRECTS):
            self._check(url)
            answer, status = self._step(url, method, body, headers)
            if status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
                return answer
            url = redirected(url, answer.headers["location"])
            if status in (301, 302, 303) and method == "POST":
                method, body = "GET", None
            headers = {}
        raise CatalogError("redirects without end", unsigned(url))

    def _may_be_local(self, url: str) -> bool:
        """Whether an address may lead to this machine or a private network."""
        is_root = urlsplit(url).netloc.rpartition("@")[2] == urlsplit(self.root).netloc.rpartition("@")[2]
        return self.allow_local or is_root

    def _check(self, url: str) -> None:
        reason = refusal_now(url, self._may_be_local(url))
        if not reason and urlsplit(url).scheme not in ("http", "https"):
            reason = "a catalog is asked over http or https alone"
        if reason:
            raise UnsupportedItemError(reason, unsigned(url))

    def _step(self, url: str, method: str, body: Any, headers: Mapping[str, str]) -> tuple[Answer, int]:
        sent = {"Accept": "application/geo+json, application/json;q=0.9, */*;q=0.1", **headers, **ACCEPTED}
        sent |= self.opener.headers(url)
        extensions = {} if self._may_be_local(url) else {"trace": refuses_private(url)}
        try:
            with (
                self.opener.slot(url),
                self._open().stream(method, url, json=body, headers=sent, extensions=extensions) as answer,
            ):
                if answer.status_code >= 400:
                    raise error_of_status(answer.status_code, unsigned(url), answer.headers)
                content = bytearray()
                for part in unpacked(answer, url):
                    content += part
                    if len(content) > MOST_BYTES:
                        raise CatalogError(f"a document of more than {MOST_BYTES} bytes", unsigned(url))
                return Answer(bytes(content), answer.headers, url), answer.status_code
        except httpx.TransportError as error:
            raise TransientSourceError(f"no answer: {type(error).__name__}", unsigned(url)) from None
        except (httpx.InvalidURL, httpx.DecodingError) as error:
            raise CatalogError(f"cannot be asked: {type(error).__name__}", unsigned(url)) from None

    def _open(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)
            weakref.finalize(self, self._client.close)
        return self._client


def of_catalog(error: SourceError) -> SourceError:
    """The same failure said of a catalog: a status that nothing mends is a `CatalogError`; the rest stays."""
    if isinstance(error, TransientSourceError):
        what = error.what.replace("no answer:", "no answer from the catalog:")
        return TransientSourceError(what, error.url, error.attempts)
    if not error.permanent or isinstance(error, (AccessDeniedError, CatalogError, UnsupportedItemError)):
        return error
    return CatalogError(error.what, error.url, error.attempts)
