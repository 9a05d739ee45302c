"""Secrets that travel as an ``Authorization`` header: bearer tokens, basic log-ins, tokens fetched from an endpoint."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping

import httpx

from schemas.errors import AccessDeniedError, TransientSourceError
from sources.credentials import Login, Reference
from sources.faults import error_of_status
from sources.openers import PlainOpener, unsigned

TIMEOUT_S = 30.0
EARLY = 0.25
"""A token is fetched anew when this share of its life, and a minute at most, is left."""


class BearerSigner:
    """A token, looked up once and again when it is refused."""

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference = reference
        self._token: str | None = None

    def resolve(self, href: str) -> str:
        """The address itself."""
        return href

    def headers(self, href: str) -> Mapping[str, str]:
        """The token; of a netrc entry the password is it."""
        if self._token is None:
            self._token = self.reference.values()[-1]
        return {"Authorization": f"Bearer {self._token}"}

    def refresh(self, href: str) -> None:
        """Look it up again: somebody may have written a new one."""
        self._token = None


class BasicSigner:
    """User and password."""

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference = reference

    def resolve(self, href: str) -> str:
        """The address itself."""
        return href

    def headers(self, href: str) -> Mapping[str, str]:
        """User and password in base64."""
        return basic(Login(*self.reference.values()))

    def refresh(self, href: str) -> None:
        """Nothing is kept."""


class OauthSigner:
    """A bearer token from an OAuth2 token endpoint, fetched before the one at hand runs out.

    With ``client_id`` the user logs in through a public client (password grant, as at CDSE); without, user and password
    are the client's own (client credentials). A refresh token is used where the endpoint gives one.
    """

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference, self.now = reference, now
        self._lock = threading.Lock()
        self._token, self._renewal, self._until = "", "", 0.0

    def resolve(self, href: str) -> str:
        """The address itself."""
        return href

    def headers(self, href: str) -> Mapping[str, str]:
        """The token that is good now.

        Raises:
            AccessDeniedError: the endpoint refused.
            ThrottledError, TransientSourceError: it is unwell.
        """
        with self._lock:
            if self.now() >= self._until:
                self._fetch()
            return {"Authorization": f"Bearer {self._token}"}

    def refresh(self, href: str) -> None:
        """Forget the token."""
        with self._lock:
            self._until = 0.0

    def _fetch(self) -> None:
        if self._renewal:
            renewal, self._renewal = self._renewal, ""
            try:
                self._ask({"grant_type": "refresh_token", "refresh_token": renewal, **self._client()})
                return
            except AccessDeniedError:
                pass  # it ran out as well: log in again
        login = Login(*self.reference.values())
        if self.reference.credential.client_id:
            self._ask({"grant_type": "password", "username": login.user, "password": login.password, **self._client()})
        else:
            self._ask({"grant_type": "client_credentials"}, basic(login))

    def _client(self) -> dict[str, str]:
        name = self.reference.credential.client_id
        return {"client_id": name} if name else {}

    def _ask(self, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> None:
        url = str(self.reference.credential.token_url)
        try:
            answer = httpx.post(url, data=form, headers=headers, timeout=TIMEOUT_S, follow_redirects=False)
        except httpx.HTTPError as error:
            raise TransientSourceError(f"no token: {type(error).__name__}", unsigned(url)) from None
        if answer.status_code in (400, 401, 403):
            what = f"credentials.{self.reference.name}: the token endpoint refused it, HTTP {answer.status_code}"
            raise AccessDeniedError(what, unsigned(url))
        if answer.status_code != 200:
            raise error_of_status(answer.status_code, unsigned(url), answer.headers)
        try:
            given = answer.json()
            self._token, life = str(given["access_token"]), float(given.get("expires_in", 300))
        except (ValueError, KeyError, TypeError):
            raise AccessDeniedError("the token endpoint gave no token", unsigned(url)) from None
        self._renewal = str(given.get("refresh_token") or "")
        self._until = self.now() + life - early(life)


def early(life_s: float) -> float:
    """How long before its end a token is fetched anew, in seconds.

    >>> early(3600), early(8)
    (60.0, 2.0)
    """
    return min(60.0, life_s * EARLY)


def basic(login: Login) -> dict[str, str]:
    """The header of user and password.

    >>> basic(Login("Aladdin", "open sesame"))
    {'Authorization': 'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='}
    """
    text = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}
