"""Azure blobs behind shared access signatures, as the Planetary Computer gives them: one token for each container."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx

from schemas.errors import AccessDeniedError, TransientSourceError
from schemas.recipe_catalogs import DEFAULT_TOKEN_URLS
from sources.credentials import Reference
from sources.faults import error_of_status
from sources.items import parse_time
from sources.openers import PlainOpener, unsigned
from sources.signing_headers import TIMEOUT_S, early

SUBSCRIPTION_HEADER = "Ocp-Apim-Subscription-Key"
UNSIGNED_S = 3600.0
"""How long a container that the endpoint does not know is read as it is."""


class SasSigner:
    """Signs addresses with a container's token, fetched before the one at hand runs out."""

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference, self.now = reference, now
        self.endpoint = reference.credential.token_url or DEFAULT_TOKEN_URLS["sas"]
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    def resolve(self, href: str) -> str:
        """The signed address.

        Raises:
            AccessDeniedError: the endpoint refused.
            ThrottledError, TransientSourceError: it is unwell.
        """
        container = container_of(href)
        with self._lock:
            token, until = self._tokens.get(container, ("", 0.0))
            if self.now() >= until:
                token, until = self._tokens[container] = self._fetch(container)
        if not token:
            return href
        return f"{href}{'&' if urlsplit(href).query else '?'}{token}"

    def headers(self, href: str) -> Mapping[str, str]:
        """None: the address carries the signature."""
        return {}

    def refresh(self, href: str) -> None:
        """Forget the container's token."""
        with self._lock:
            self._tokens.pop(container_of(href), None)

    def _fetch(self, container: tuple[str, str]) -> tuple[str, float]:
        url = f"{self.endpoint}/{container[0]}/{container[1]}"
        key = self.reference.values()
        headers = {SUBSCRIPTION_HEADER: key[-1]} if key else {}
        try:
            answer = httpx.get(url, headers=headers, timeout=TIMEOUT_S, follow_redirects=False)
        except httpx.HTTPError as error:
            raise TransientSourceError(f"no signature: {type(error).__name__}", unsigned(url)) from None
        if answer.status_code == 404:  # a public container, which the endpoint does not sign
            return "", self.now() + UNSIGNED_S
        if answer.status_code != 200:
            raise error_of_status(answer.status_code, unsigned(url), answer.headers)
        try:
            given = answer.json()
            token, until = str(given["token"]).lstrip("?"), parse_time(str(given["msft:expiry"])).timestamp()
        except (ValueError, KeyError, TypeError):
            raise AccessDeniedError("the endpoint gave no signature", unsigned(url)) from None
        return token, until - early(max(0.0, until - self.now()))


def container_of(href: str) -> tuple[str, str]:
    """Account and container of a blob's address.

    >>> container_of("https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/10/T/ET/B02.tif")
    ('sentinel2l2a01', 'sentinel2-l2')
    """
    parts = urlsplit(href)
    return (parts.hostname or "").partition(".")[0], parts.path.lstrip("/").partition("/")[0]
