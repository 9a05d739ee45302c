"""How an address is opened: `PlainOpener`, the GDAL settings, and which addresses are not opened at all."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from schemas.errors import UnsupportedItemError
from schemas.scene import Opener

REMOTE_SCHEMES = frozenset({"http", "https", "s3", "gs", "az", "abfs"})
SIGNATURE_KEYS = frozenset(
    {
        "sig", "se", "st", "sp", "sv", "sr", "skoid", "sktid", "skt", "ske", "sks", "skv", "spr", "sip", "signature",
        "expires", "awsaccesskeyid", "googleaccessid", "key-pair-id", "policy", "token", "access_token", "apikey",
        "api_key", "subscription-key", "password", "secret", "client_secret", "id_token", "oauth_token", "jwt",
    }
)  # fmt: skip
"""Query keys of signed addresses; they never reach a ref, a log or a file."""
SECRET_KEYS = SIGNATURE_KEYS | {
    "key", "api-key", "access_key", "accesskey", "auth", "authorization", "subscriptionkey", "pwd", "passwd",
    "auth_token", "refresh_token", "security-token", "ossaccesskeyid", "q-signature", "hmac", "hdnts", "hdntl", "hdnea",
    "x-oss-credential", "x-oss-signature", "x-oss-security-token", "x-cos-security-token",
}  # fmt: skip
"""Query keys that no log and no file of a dataset shows. Those that are no signatures stay in what is read: nothing
here could make them anew, and a server may call a file by ``key``.
"""

GDAL_OPTIONS: dict[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1024",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_NETRC": "NO",
}
"""No directory listing, merged ranges, no retries of its own (ours are counted), no log-in that no recipe names."""

FORGET_OPTIONS: dict[str, str] = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/"}
"""For a second attempt: GDAL remembers a failed file for the life of the process and would not ask the server again."""

_LOW_32_BITS = [ipaddress.IPv6Network(name) for name in ("::/96", "::ffff:0:0/96", "64:ff9b::/96")]
"""IPv6 addresses whose last four bytes are an IPv4 address (RFC 4291, RFC 6052)."""
_TWO_WAYS = re.compile(r"[a-z+]+://[^/?#]*[\\\s]|[\x00-\x1f\x7f]", re.IGNORECASE)
"""What libraries read in different ways: behind a backslash urlsplit goes on with the host, urllib3 with the path."""
_JPEG_2000 = re.compile(r"\.jp2(?:\)/\$value)?$", re.IGNORECASE)


class Remembered:
    """Addresses that this process has met, the oldest forgotten where there are many; for several threads."""

    MOST = 4096

    def __init__(self) -> None:
        self._addresses: dict[str, None] = {}
        self._lock = Lock()

    def __contains__(self, href: str) -> bool:
        return href in self._addresses

    def add(self, href: str) -> None:
        """Remember an address."""
        with self._lock:
            if len(self._addresses) >= self.MOST:
                self._addresses.pop(next(iter(self._addresses)))
            self._addresses[href] = None

    def discard(self, href: str) -> None:
        """Forget an address, if it is known."""
        with self._lock:
            self._addresses.pop(href, None)


_failed = Remembered()
"""Addresses whose last read by GDAL failed in this process: a worker of a standing cluster outlives the build that met
them."""


@dataclass(frozen=True)
class PlainOpener:
    """Opens addresses as they are: local files, public HTTP, public object storage."""

    allow_local: bool = True
    """Whether this machine and private networks may be read."""

    def resolve(self, href: str) -> str:
        """The address to read now.

        Raises:
            UnsupportedItemError: an address that must not be opened.
        """
        if reason := refusal_now(href, self.allow_local):
            raise UnsupportedItemError(reason, url=unsigned(href))
        if urlsplit(href).scheme == "file":
            return unquote(urlsplit(href).path)
        return on_disk(href)

    def headers(self, href: str) -> Mapping[str, str]:
        """See `Opener.headers`: none."""
        return {}

    def refresh(self, href: str) -> None:
        """See `Opener.refresh`: there is nothing to forget."""

    def slot(self, href: str) -> AbstractContextManager[None]:
        """See `Opener.slot`: no limit."""
        return nullcontext()

    def gdal_options(self) -> dict[str, str]:
        """GDAL configuration for reads."""
        return dict(GDAL_OPTIONS)


def gdal_settings(opener: Opener, hrefs: Sequence[str]) -> dict[str, str]:
    """GDAL configuration for reading these addresses together: the opener's own, and the headers that they need.

    Where one of them failed before in this process, the server is asked again and not GDAL's memory.

    Raises:
        UnsupportedItemError: they need different headers, and GDAL would send each host those of the others.
    """
    options = {**opener.gdal_options(), **(FORGET_OPTIONS if any(href in _failed for href in hrefs) else {})}
    needed = {href: dict(opener.headers(href)) for href in hrefs}
    sent = next(iter(needed.values()), {})
    other = next((href for href, headers in needed.items() if headers != sent), None)
    if other is not None:
        raise UnsupportedItemError(
            "its bands lie behind different log-ins: read it with engine direct", unsigned(other)
        )
    if not sent:
        return options
    lines = ",".join(f'"{key}: {value}"' for key, value in sent.items())
    return {**options, "GDAL_HTTP_HEADERS": lines}


def note_success(hrefs: Iterable[str]) -> None:
    """GDAL read these addresses: its memory of them is good again."""
    for href in hrefs:
        _failed.discard(href)


def has_failed(href: str) -> bool:
    """Whether GDAL's last read of an address failed in this process."""
    return href in _failed


def note_failure(href: str) -> None:
    """GDAL failed at an address: until a read goes well it is read past GDAL's memory."""
    _failed.add(href)


def driver_of(href: str) -> str:
    """The one GDAL format in which an address is opened: a virtual format could name other files."""
    return "JP2OpenJPEG" if is_jpeg_2000(href) else "GTiff"


def is_jpeg_2000(href: str) -> bool:
    """Whether an address names a JPEG 2000 file, at OData servers (CDSE) as a node of its product.

    >>> is_jpeg_2000("https://h/odata/v1/Products(1)/Nodes(T32UNU_B02_10m.jp2)/$value")
    True
    """
    return _JPEG_2000.search(urlsplit(href).path) is not None


def refusal(href: str, allow_local: bool) -> str:
    """Why an address must not be opened; empty where it may be.

    Local files, loopback and private networks are for catalogs that the recipe marks ``allow_local`` (a catalog that is
    itself a local file is one). GDAL's own prefixes and connection strings are never opened.
    """
    try:
        parts = urlsplit(href)
        if parts.scheme in ("http", "https"):
            (parts.hostname or "").encode("idna")
            if _TWO_WAYS.search(href):
                return f"{_shown(href)} is no address"
    except ValueError:
        return f"{_shown(href)} is no address"
    scheme = parts.scheme.lower()
    has_prefix = ":" in href.split("/", 1)[0][2:]  # a drive letter is none
    if not href or href.startswith("/vsi") or "<" in href or (has_prefix and not _is_plain(scheme)):
        return f"{_shown(href)} is no address of a file or of object storage"
    if scheme in ("http", "https"):
        host = parts.hostname or ""
        return "" if allow_local or not is_private_host(host) else f"{host} is this machine or a private network"
    if scheme in REMOTE_SCHEMES:
        return ""
    return "" if allow_local else "a local file, named by a remote catalog"


def _shown(href: str) -> str:
    """The beginning of what is no address, without what could be a user, a password or a signature in it."""
    return repr(re.split(r"[?#]", re.sub(r"(?<=//)[^/]*@", "", href))[0][:80])


def refusal_now(href: str, allow_local: bool) -> str:
    """As `refusal`, and the name of a host is looked up: why an address must not be opened at this moment."""
    reason = refusal(href, allow_local)
    if not reason and not allow_local and urlsplit(href).scheme in ("http", "https"):
        host = urlsplit(href).hostname or ""
        return f"{host} is an address of a private network" if resolves_privately(host) else ""
    return reason


MOST_REDIRECTS = 8
"""Longer chains of them are followed no further."""


def redirected(url: str, location: str) -> str:
    """Where a server sends us, as it may send anything.

    A public one never sends us to this machine or a private network, even where a recipe lets other catalogs lie there.

    Raises:
        UnsupportedItemError: to no address, or inwards.
    """
    try:
        there = urljoin(url, location)
        urlsplit(there)
    except ValueError as error:
        raise UnsupportedItemError("a redirect to something that is no address", unsigned(url)) from error
    if (reason := refusal_now(there, allow_local=False)) and not refusal_now(url, allow_local=False):
        raise UnsupportedItemError(f"a redirect of a public server: {reason}", unsigned(url))
    return there


def is_private_host(host: str) -> bool:
    """Whether a host name is, as it stands, this machine or a private network (no lookup)."""
    name = host.strip("[]").rstrip(".").lower()
    if not name or name == "localhost" or name.endswith((".localhost", ".local", ".internal", ".lan")):
        return True
    try:
        return not _is_public(ipaddress.ip_address(name.split("%")[0]))
    except ValueError:
        pass
    try:  # 2130706433, 0x7f.1 and 127.1 are addresses to the C library
        return not _is_public(ipaddress.ip_address(socket.inet_aton(name)))
    except OSError:
        return "." not in name


def is_in_clear(href: str) -> bool:
    """Whether what is sent to an address can be read on the way: plain HTTP to a host that is neither this machine nor
    in a private network.

    >>> is_in_clear("http://a.example.org/x"), is_in_clear("https://a.example.org/x"), is_in_clear("http://127.0.0.1/x")
    (True, False, False)
    """
    parts = urlsplit(href)
    return parts.scheme == "http" and not is_private_host(parts.hostname or "")


@lru_cache(maxsize=1024)
def resolves_privately(host: str) -> bool:
    """Whether a host's name leads to this machine or a private network; False where it is not known."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(not _is_public(ipaddress.ip_address(str(entry[4][0]).split("%")[0])) for entry in found)


def on_disk(href: str) -> str:
    """The path that an address means which is written as one of the web (``a%20b``), where only that is there."""
    if "%" not in href or urlsplit(href).scheme or Path(href).exists():
        return href
    return unquote(href)


def unsigned(href: str) -> str:
    """The address as it may be told: without signature, key, token or user name; other query parameters stay.

    >>> unsigned("https://user:secret@host/a.tif?sig=abc&version=2&key=my-own")
    'https://host/a.tif?version=2'

    Of something that is no address nothing is left: nobody knows what in it is secret.
    """
    return _without(href, SECRET_KEYS)


def without_signature(href: str) -> str:
    """The address as it is kept to be read later, signed anew: never to be shown.

    >>> without_signature("https://user:secret@host/a.tif?sig=abc&version=2&key=my-own")
    'https://host/a.tif?version=2&key=my-own'
    """
    return _without(href, SIGNATURE_KEYS)


def _without(href: str, keys: frozenset[str]) -> str:
    try:
        parts = urlsplit(href)
    except ValueError:
        return ""
    if parts.scheme not in REMOTE_SCHEMES:
        return href
    if parts.scheme not in ("http", "https"):
        return _unsigned_object(href, parts, keys)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _is_secret(k, keys)]
    netloc = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query), ""))


def public_name(href: str) -> str:
    """What a published table may say of an address: unsigned; of this machine or a private network the file's name.

    >>> public_name("https://host.example.org/a/b.tif?sig=abc"), public_name("http://127.0.0.1:8000/a/b.tif")
    ('https://host.example.org/a/b.tif', 'b.tif')
    """
    parts = urlsplit(href)
    is_local = parts.scheme not in REMOTE_SCHEMES
    if parts.scheme in ("http", "https"):
        is_local = is_private_host(parts.hostname or "")
    return parts.path.rsplit("/", 1)[-1] if is_local else unsigned(href)


def _unsigned_object(href: str, parts: SplitResult, keys: frozenset[str]) -> str:
    """An object's address without keys before its bucket and without a signature; a question mark may be its name's."""
    user, _, bucket = parts.netloc.rpartition("@")
    is_signed = any(_is_secret(key, keys) for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    if ":" not in user and not is_signed:
        return href
    return f"{parts.scheme}://{bucket if ':' in user else parts.netloc}{parts.path}"


def _is_secret(key: str, keys: frozenset[str]) -> bool:
    low = key.lower()
    return low in keys or low.startswith(("x-amz-", "x-goog-", "x-ms-"))


def _is_plain(scheme: str) -> bool:
    return scheme in REMOTE_SCHEMES or scheme == "file"


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    meant = _embedded(address) if isinstance(address, ipaddress.IPv6Address) else None
    if meant is not None:
        return _is_public(meant)
    return address.is_global and not address.is_multicast and not getattr(address, "is_site_local", False)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped, compatible, by NAT64, 6to4 or Teredo."""
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _LOW_32_BITS) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour
