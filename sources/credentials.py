"""Secrets by reference: `CredentialedOpener` opens addresses with what the process that reads looks up for itself.

An opener travels to workers with names of variables, netrc machines and profiles; a `Vault` on the worker's own side
turns a name into a value, and a `Signer` of the credential's kind turns the value into headers or signed addresses.
Neither is pickled, logged or named in an error.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from schemas.errors import AccessDeniedError, UserError
from schemas.recipe import Credential, Recipe
from schemas.recipe_catalogs import DEFAULT_LOGIN_HOSTS
from sources.base import load_target
from sources.limits import HostLimits
from sources.openers import GDAL_OPTIONS, PlainOpener, is_in_clear, unsigned

log = logging.getLogger(__name__)

SIGNERS: dict[str, str] = {
    "bearer": "sources.signing_headers:BearerSigner",
    "basic": "sources.signing_headers:BasicSigner",
    "oauth": "sources.signing_headers:OauthSigner",
    "sas": "sources.signing_sas:SasSigner",
    "s3": "sources.signing_s3:S3Signer",
    "earthdata": "sources.signing_login:LoginSigner",
    "dlr": "sources.signing_login:LoginSigner",
}
"""Kind of a credential -> what makes headers and addresses of it."""

_S3_HOST = re.compile(r"(?P<bucket>[a-z0-9.-]+)\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com")


class Login(NamedTuple):
    """User and password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(...)"


class Vault(Protocol):
    """Looks secrets up on this machine. Pickles without any."""

    def variable(self, name: str) -> str:
        """An environment variable's value.

        Raises:
            UserError: it is not set.
        """
        ...

    def login(self, machine: str) -> Login:
        """A netrc file's entry.

        Raises:
            UserError: there is none.
        """
        ...

    def profile(self, name: str) -> tuple[str, ...]:
        """Key id, secret and perhaps session token of an AWS profile.

        Raises:
            UserError: there is none.
        """
        ...


@dataclass(frozen=True)
class Reference:
    """A credential with its name, and the vault that knows its value."""

    name: str
    """Name in the recipe."""
    credential: Credential
    """Where it lies."""
    vault: Vault
    """Where it is looked up."""

    def values(self) -> tuple[str, ...]:
        """The secret's parts, looked up now: (token), (user, password), (key id, secret[, token]), or nothing.

        Raises:
            UserError: it cannot be looked up here.
        """
        found = self.credential
        try:
            if found.env:
                return tuple(self.vault.variable(name) for name in found.env)
            if found.profile is not None:
                return self.vault.profile(found.profile)
            machine = found.netrc or (None if found.kind in ("sas", "s3") else _login_machine(found))
            return tuple(self.vault.login(machine)) if machine else ()
        except UserError as error:
            raise UserError(error.what, where=f"credentials.{self.name}", mend=error.mend) from None


class Signer(Protocol):
    """What one kind of credential does to a request. Safe for threads; keeps tokens until they run out."""

    def resolve(self, href: str) -> str:
        """The address to ask now."""
        ...

    def headers(self, href: str) -> Mapping[str, str]:
        """Headers for the address that `resolve` gives."""
        ...

    def refresh(self, href: str) -> None:
        """The server refused: look up, sign or log in anew."""
        ...


class CredentialedOpener:
    """Opens addresses with the credentials whose hosts they lie on, and within the limits of their hosts.

    Args:
        allow_local: whether this machine and private networks may be read.
        credentials: name and reference of each credential in use.
        vault: where they are looked up.
        limits: how fast hosts are asked.
    """

    def __init__(
        self,
        allow_local: bool,
        credentials: Iterable[tuple[str, Credential]],
        vault: Vault,
        limits: HostLimits,
    ) -> None:
        self.plain = PlainOpener(allow_local)
        self.credentials, self.vault, self.limits = tuple(credentials), vault, limits

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.plain.allow_local, self.credentials, self.vault, self.limits)

    @property
    def allow_local(self) -> bool:
        """See `Opener.allow_local`."""
        return self.plain.allow_local

    def resolve(self, href: str) -> str:
        """See `Opener.resolve`.

        Raises:
            UnsupportedItemError: an address that must not be opened.
            AccessDeniedError: the secret cannot be looked up here, or was refused.
            ThrottledError, TransientSourceError: the server that signs is unwell.
        """
        plain = self.plain.resolve(href)
        found = self._signer(href)
        return self.plain.resolve(_of_signer(lambda: found.resolve(href), href)) if found else plain

    def headers(self, href: str) -> Mapping[str, str]:
        """See `Opener.headers`; only for the hosts that the credential names, and never in clear."""
        found = self._signer(href)
        if found is not None and is_in_clear(href):
            _say_once(host_of(href))
            return {}
        return _of_signer(lambda: found.headers(href), href) if found else {}

    def refresh(self, href: str) -> None:
        """See `Opener.refresh`."""
        found = self._signer(href)
        if found:
            log.info("%s was refused: its signature or token is made anew", unsigned(href))
            found.refresh(href)

    def slot(self, href: str) -> AbstractContextManager[None]:
        """See `Opener.slot`."""
        return self.limits.slot(host_of(href))

    def gdal_options(self) -> dict[str, str]:
        """See `Opener.gdal_options`; no secret is among them."""
        return dict(GDAL_OPTIONS)

    def _signer(self, href: str) -> Signer | None:
        for name, credential in self.credentials:
            if covers(credential, href):
                return _signer_of(Reference(name, credential, self.vault), self.plain.allow_local)
        return None


def make_opener(recipe: Recipe, vault: Vault, limits: HostLimits) -> CredentialedOpener:
    """The opener of a recipe's catalogs and assets."""
    used = {name for catalog in recipe.catalogs.values() for name in catalog.credentials}
    return CredentialedOpener(
        any(catalog.allow_local for catalog in recipe.catalogs.values()),
        [(name, credential) for name, credential in recipe.credentials.items() if name in used],
        vault,
        limits,
    )


def require_credentials(recipe: Recipe, vault: Vault) -> None:
    """Stop before anything is asked where a secret cannot be looked up on this machine.

    Raises:
        UserError: naming the credential and the mend.
    """
    used = {name for catalog in recipe.catalogs.values() for name in catalog.credentials}
    for name in sorted(used):
        Reference(name, recipe.credentials[name], vault).values()


def billed_by(recipe: Recipe, hrefs: Iterable[str]) -> list[str]:
    """Credentials in use by which the reader of some addresses agrees to pay for requests and transfer."""
    used = {name for catalog in recipe.catalogs.values() for name in catalog.credentials}
    paying = [name for name in sorted(used) if recipe.credentials[name].requester_pays]
    addresses = list(hrefs)
    return [name for name in paying if any(covers(recipe.credentials[name], href) for href in addresses)]


def covers(credential: Credential, href: str) -> bool:
    """Whether a credential is for an address: by host, for object storage by bucket."""
    parts = urlsplit(href)
    if credential.kind == "s3":
        bucket = parts.netloc if parts.scheme == "s3" else bucket_of_host(parts.hostname or "")
        return bool(bucket) and any(fnmatch.fnmatchcase(bucket, pattern) for pattern in credential.seen_by)
    if parts.scheme not in ("http", "https"):
        return False
    return any(is_host(href, pattern) for pattern in credential.seen_by)


def is_host(href: str, pattern: str) -> bool:
    """Whether an address lies on a host; a pattern without a port is for the scheme's own port and any other.

    >>> is_host("https://a.example.org/x", "*.example.org"), is_host("https://example.org.evil.net/", "*.example.org")
    (True, False)
    """
    return fnmatch.fnmatchcase(host_of(href) if ":" in pattern else host_of(href).partition(":")[0], pattern)


def host_of(href: str) -> str:
    """Host and port of an address, lower case, without user name; for object storage its bucket."""
    return urlsplit(href).netloc.rpartition("@")[2].lower()


def bucket_of_host(host: str) -> str:
    """Bucket of an Amazon host name; empty for others.

    >>> bucket_of_host("usgs-landsat.s3.us-west-2.amazonaws.com")
    'usgs-landsat'
    """
    found = _S3_HOST.fullmatch(host)
    return found["bucket"] if found else ""


def _login_machine(credential: Credential) -> str | None:
    return credential.login_host or DEFAULT_LOGIN_HOSTS.get(credential.kind)


def _of_signer(call: Callable[[], Any], href: str) -> Any:
    try:
        return call()
    except UserError as error:
        raise AccessDeniedError(f"no secret on this machine: {error.line()}", unsigned(href)) from None


@lru_cache(maxsize=64)
def _signer_of(reference: Hashable, allow_local: bool) -> Signer:
    """One signer for each credential of this process, so that its tokens serve every tile."""
    kind = reference.credential.kind if isinstance(reference, Reference) else ""
    signer: Signer = load_target(SIGNERS[kind])(reference, PlainOpener(allow_local), time.time)
    return signer


@lru_cache(maxsize=1024)
def _say_once(host: str) -> None:
    log.warning("%s is asked over http without its credential, which does not travel in clear", host)
