"""Log-ins over redirects (NASA Earthdata, DLR): the file's host sends us to the log-in host, which sends us back.

User and password are shown to the log-in host alone, a bearer token to the hosts that the recipe names. Cookies stay
with the host that set them. What comes out is either an address signed for a while, on another host, or the file's own
address with a cookie.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx

from schemas.errors import AccessDeniedError, TransientSourceError
from schemas.recipe_catalogs import DEFAULT_LOGIN_HOSTS
from sources.credentials import Login, Reference, host_of, is_host
from sources.faults import error_of_status
from sources.openers import PlainOpener, is_in_clear, redirected, unsigned
from sources.signing_headers import TIMEOUT_S, basic, early

MOST_STEPS = 12
UNSTATED_LIFE_S = 300.0
"""How long an address that says nothing of its end is taken to be good."""


class LoginSigner:
    """Logs in once for each host and keeps the cookie; asks for a signed address once for each file."""

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference, self.opener, self.now = reference, opener, now
        self.login_host = reference.credential.login_host or DEFAULT_LOGIN_HOSTS[reference.credential.kind]
        self._lock = threading.Lock()
        self._cookies = httpx.Cookies()
        self._addresses: dict[str, tuple[str, float]] = {}

    def resolve(self, href: str) -> str:
        """The address to read now, after a log-in where one is due.

        Raises:
            AccessDeniedError: the log-in was refused, or gave a page in place of the file.
            ThrottledError, TransientSourceError: a server on the way is unwell.
        """
        with self._lock:
            address, until = self._addresses.get(href, ("", 0.0))
            if self.now() >= until:
                address = self._walk(href)
                self._addresses[href] = (address, self.now() + self._life(address))
        return address

    def headers(self, href: str) -> Mapping[str, str]:
        """The cookie or token of the file's own host; none where the address lies elsewhere."""
        address = self.resolve(href)
        if host_of(address) != host_of(href):
            return {}
        request = httpx.Request("GET", address)
        with self._lock:
            self._cookies.set_cookie_header(request)
        cookie = request.headers.get("cookie")
        return ({"Cookie": cookie} if cookie else {}) | self._token(address)

    def refresh(self, href: str) -> None:
        """Forget the address and the cookies: log in again."""
        with self._lock:
            self._addresses.pop(href, None)
            self._cookies = httpx.Cookies()

    def _walk(self, href: str) -> str:
        """Follow the redirects to the end."""
        url = href
        for _ in range(MOST_STEPS):
            answer = self._step(url)
            location = answer.headers.get("location")
            if answer.status_code in (301, 302, 303, 307, 308) and location:
                url = self.opener.resolve(redirected(url, location))
                continue
            if answer.status_code >= 400:
                raise self._error(answer.status_code, url, answer.headers)
            if _is_page(answer, href):
                what = "the log-in gave a page, no file: the user may have to accept the provider's terms once"
                raise AccessDeniedError(f"credentials.{self.reference.name}: {what}", unsigned(href))
            return url
        raise AccessDeniedError(f"credentials.{self.reference.name}: the log-in redirects without end", unsigned(href))

    def _step(self, url: str) -> httpx.Response:
        sent = {"Range": "bytes=0-0", "Accept-Encoding": "identity", **self.shown_to(url)}
        request = httpx.Request("GET", url, headers=sent)
        self._cookies.set_cookie_header(request)
        try:
            with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client:
                answer = client.send(request, stream=True)
                answer.close()
        except httpx.HTTPError as error:
            raise TransientSourceError(
                f"no answer on the way to the log-in: {type(error).__name__}", unsigned(url)
            ) from None
        self._cookies.extract_cookies(answer)
        return answer

    def shown_to(self, url: str) -> dict[str, str]:
        """What of the secret a step of the log-in shows to an address: nothing in clear."""
        is_asked = is_host(url, self.login_host) and not is_in_clear(url)
        values = self.reference.values() if is_asked else ()
        return self._token(url) | (basic(Login(*values)) if len(values) == 2 else {})

    def _token(self, url: str) -> dict[str, str]:
        """The bearer token, for the hosts that may see it."""
        if is_in_clear(url) or not any(is_host(url, pattern) for pattern in self.reference.credential.seen_by):
            return {}
        values = self.reference.values()
        return {"Authorization": f"Bearer {values[0]}"} if len(values) == 1 else {}

    def _error(self, status: int, url: str, headers: Mapping[str, str]) -> Exception:
        if status in (401, 403) and is_host(url, self.login_host):
            what = f"credentials.{self.reference.name}: {self.login_host} refused the log-in, HTTP {status}"
            return AccessDeniedError(what, unsigned(url))
        return error_of_status(status, unsigned(url), headers)

    def _life(self, address: str) -> float:
        """Seconds for which an address is good, less a margin."""
        query = {key.lower(): values[-1] for key, values in parse_qs(urlsplit(address).query).items()}
        life = UNSTATED_LIFE_S
        try:
            if "x-amz-expires" in query:
                signed = datetime.strptime(query["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                life = signed.timestamp() + float(query["x-amz-expires"]) - self.now()
            elif "expires" in query:
                life = float(query["expires"]) - self.now()
        except (KeyError, ValueError):
            pass
        return max(0.0, life - early(life))


def _is_page(answer: httpx.Response, href: str) -> bool:
    is_html = answer.headers.get("content-type", "").partition(";")[0].strip() == "text/html"
    return is_html and not urlsplit(href).path.endswith((".html", "/"))
