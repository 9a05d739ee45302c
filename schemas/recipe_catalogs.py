"""The recipe about catalogs: where items come from, who may read them, and how fast a host may be asked."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from schemas.recipe_base import Model, Name

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""The name of an environment variable that holds a secret."""
_HOST = re.compile(r"\*|(\*\.)?[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?(:\d{1,5})?")
_URL = re.compile(r"https?://[^\s@?#]+")
_LOG_IN = re.compile(r"https?://[^/?#]*@", re.IGNORECASE)


def has_log_in(address: str) -> bool:
    """Whether an address holds a user name or a password: it would reach logs, and tasks that travel.

    >>> has_log_in("https://me:word@host/v1"), has_log_in("https://host/v1?mail=a@b")
    (True, False)
    """
    return _LOG_IN.match(address) is not None


def _check_variable(value: str) -> str:
    if not VARIABLE.fullmatch(value):
        raise ValueError("env takes the name of an environment variable, never its value")
    return value


def _check_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no host: write files.example.org, *.example.org or *, in lower case")
    return value


def _check_url(value: str) -> str:
    if not _URL.fullmatch(value):
        raise ValueError("an address here is http(s)://host/path, without user name and query")
    return value.rstrip("/")


def _many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Variable = Annotated[str, AfterValidator(_check_variable)]
Host = Annotated[str, AfterValidator(_check_host)]
PlainUrl = Annotated[str, AfterValidator(_check_url)]

CredentialKind = Literal["bearer", "basic", "oauth", "sas", "s3", "earthdata", "dlr"]

DEFAULT_HOSTS: dict[str, tuple[str, ...]] = {
    "sas": ("*.blob.core.windows.net",),
    "earthdata": ("*.earthdatacloud.nasa.gov", "*.earthdata.nasa.gov", "e4ftl01.cr.usgs.gov"),
    "dlr": ("download.geoservice.dlr.de",),
    "s3": ("*",),
}
"""Hosts (for ``s3``: buckets) that a kind is made for, where a recipe names none."""
DEFAULT_LOGIN_HOSTS = {"earthdata": "urs.earthdata.nasa.gov", "dlr": "sso.eoc.dlr.de"}
"""Where a log-in is sent; nowhere else."""
DEFAULT_TOKEN_URLS = {"sas": "https://planetarycomputer.microsoft.com/api/sas/v1/token"}
"""Endpoints that sign, where a recipe names none."""


class Credential(Model):
    """Where a secret lies, never the secret: the process that needs it looks it up on its own machine."""

    kind: CredentialKind
    """``bearer`` and ``basic`` headers; ``oauth``: a bearer token fetched from `token_url`; ``sas``: signed addresses
    of Azure blobs; ``s3``: signed addresses of object storage; ``earthdata``, ``dlr``: log-ins over redirects."""
    env: Annotated[tuple[Variable, ...], BeforeValidator(_many)] = ()
    """Names of environment variables: (token) or (user, password); ``s3``: (key id, secret[, session token]); ``sas``:
    (subscription key), which may be absent."""
    netrc: Host | None = None
    """Machine entry of the netrc file that holds user and password (for ``bearer`` the password is the token)."""
    profile: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """``s3``: section of the AWS credentials file."""
    hosts: Annotated[tuple[Host, ...], BeforeValidator(_many)] = ()
    """Hosts that may see it (``*.example.org``); ``s3``: buckets. Needed where the kind has no provider of its own."""
    token_url: PlainUrl | None = None
    """Endpoint that gives tokens (``oauth``, ``sas``)."""
    client_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    """``oauth``: public client that the user logs in through; absent: user and password are the client's own."""
    login_host: Host | None = None
    """``earthdata``, ``dlr``: the only host that sees user and password."""
    endpoint: PlainUrl | None = None
    """``s3``: address of a store that is not Amazon's."""
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """``s3``: region that signatures name."""
    requester_pays: bool = False
    """``s3``: whether the reader agrees to pay for the transfer."""

    @model_validator(mode="after")
    def _can_be_looked_up(self) -> Credential:
        if sum((bool(self.env), self.netrc is not None, self.profile is not None)) > 1:
            raise ValueError("name one place: env, netrc or profile")
        if self.profile is not None and self.kind != "s3":
            raise ValueError("profile is for kind s3; give env or netrc")
        allowed = {"bearer": (1,), "basic": (2,), "oauth": (2,), "sas": (0, 1), "s3": (0, 2, 3)}.get(self.kind, (1, 2))
        if self.env and len(self.env) not in allowed:
            raise ValueError(f"env of kind {self.kind} names {' or '.join(map(str, allowed))} variables")
        if not self.env and self.netrc is None and self.kind not in ("sas", "s3", "earthdata", "dlr"):
            raise ValueError(f"kind {self.kind} needs env or netrc")
        if self.kind == "oauth" and self.token_url is None:
            raise ValueError("kind oauth needs token_url")
        if not self.hosts and self.kind not in DEFAULT_HOSTS:
            raise ValueError(f"kind {self.kind} needs hosts: which ones may see it")
        if "*" in self.hosts and self.kind != "s3":
            raise ValueError("hosts may not be *: a secret is for hosts that are named")
        return self

    @property
    def seen_by(self) -> tuple[str, ...]:
        """Hosts (buckets) that may see it."""
        return self.hosts or DEFAULT_HOSTS[self.kind]


class HostLimit(Model):
    """How a host is asked; the rest waits, nothing is dropped."""

    concurrency: PositiveInt = 32
    """Requests at once, over all threads and workers of a run."""
    per_second: PositiveFloat | None = None
    """Requests begun per second, over all threads and workers of a run."""


class Catalog(Model):
    """Where items come from."""

    kind: Literal["stac-api", "static", "stac-geoparquet"]
    """A STAC API; a static catalog (catalog.json) in a folder or behind HTTP; or an index of items as stac-geoparquet,
    one file or a folder of them, on disk, behind HTTP or in object storage."""
    href: str
    """Root URL or path; may hold ``${TERRAWEFT_...}``."""
    frozen: Name | None = None
    """``stac-geoparquet``, an index that a run froze: take the items of this catalog of that run; all where absent."""
    paths: tuple[str, ...] = ()
    """``stac-geoparquet``: variables that its items' addresses name, as ``${TERRAWEFT_...}``."""
    allow_local: bool = False
    """Whether hrefs may point to this machine or a private network."""
    credentials: Annotated[tuple[Name, ...], BeforeValidator(_many)] = ()
    """Names under ``credentials`` for this catalog's requests and its assets; each goes to its own hosts alone."""
    alternate: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Read assets at their alternate address of this name (``s3``), where they have one."""
    filters: Literal["auto", "client"] = "auto"
    """``auto``: property filters go to a server that says and shows that it understands them; ``client``: never."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Catalog:
        if self.frozen is not None and self.kind != "stac-geoparquet":
            raise ValueError("frozen names a catalog inside an index: it needs kind stac-geoparquet")
        if has_log_in(self.href):
            raise ValueError("href holds a user name or password: name it under credentials instead")
        return self


class Fallback(Model):
    """The same products at another provider."""

    catalog: Name
    """Catalog to search."""
    collection: str
    """Its name of the collection."""
    where: dict[str, str | int | float | bool] | None = None
    """Its property filters; those of the modality where absent."""
