"""What may appear in no file of a dataset: signed addresses, tokens, keys, user names in paths, local paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SIGNED = re.compile(
    r"[?&](?:sig|se|sv|st|sp|spr|X-(?:Amz|Goog|Oss|Cos)-[A-Za-z-]+|(?:AWS|OSS)AccessKeyId|(?:q-)?Signature|Expires"
    r"|(?:access_|id_|oauth_|auth_|refresh_|security-)?token|subscription-?key|api[-_]?key|access[-_]?key|key"
    r"|password|passwd|pwd|secret|client_secret|jwt|auth|authorization|hmac|hdnt[sl]|hdnea)=",
    re.IGNORECASE,
)
_SIGNED_VALUE = re.compile(rf"({SIGNED.pattern})[^&\s\"'<>)]*", re.IGNORECASE)
TOKENS: dict[str, re.Pattern[str]] = {
    "an address with a password": re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@\"']+:[^/\s@\"']+@", re.IGNORECASE),
    "an API key": re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{30,}"),
    "an AWS key": re.compile(r"A(?<=\b.)(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "a bearer token": re.compile(r"Bearer(?<=\b......)\s+[A-Za-z0-9._~+/-]{16,}"),
    "a JSON web token": re.compile(r"eyJ(?<=\b...)[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_PLACES = r"(?:home|root|Users|tmp|var|mnt|opt|data|work|srv|media|private|scratch|workspace)/"
LOCAL_PATH = re.compile(
    r"file://[^\s\"'<>)]*"
    rf"|(?<![\w/.:-])/{_PLACES}[^\s\"'<>),;]*"
    r"|\b[A-Za-z]:\\(?:Users|Windows|Temp|Data)\\[^\s\"'<>)]*"
)
# A pattern that begins with letters is looked for at the speed of a plain word, one that begins with \b or with any
# letter is tried at every place of a text. So \b is looked back for, and long texts are first asked for a part.
_PART_OF_PASSWORD = re.compile(r"://[^/\s:@\"']+:[^/\s@\"']+@")
_PARTS_OF_PATHS = (re.compile("file://"), re.compile(rf"/(?<![\w/.:-].){_PLACES}"), re.compile(r":\\"))
_DATA_URI = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>)]+", re.IGNORECASE)


def without_query(url: str) -> str:
    """An address without query string, fragment, user and password.

    >>> without_query("https://me:pw@host/a.tif?sig=1")
    'https://host/a.tif'
    """
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", r"\1", bare, flags=re.IGNORECASE)


def redact(text: str) -> str:
    """A message without query strings, passwords, tokens and local paths.

    >>> redact("no such file: /home/me/x.tif")
    'no such file: <path>'
    """
    text = _URL.sub(lambda match: without_query(match.group()), LOCAL_PATH.sub("<path>", text))
    for pattern in TOKENS.values():
        text = pattern.sub("<secret>", text)
    return text


def masked(text: str) -> str:
    """A line of a log without the secrets of addresses, passwords and tokens; all else of the addresses stays.

    >>> masked("GET https://host/a.tif?page=2&token=abc HTTP/1.1")
    'GET https://host/a.tif?page=2&token=<secret> HTTP/1.1'
    """
    text = _SIGNED_VALUE.sub(r"\1<secret>", text)
    for pattern in TOKENS.values():
        text = pattern.sub("<secret>", text)
    return text


def publishable(text: str) -> str:
    """Words of strangers (an attribution, a name on the map) as they may be published; most are as they were.

    A catalog's "see https://host/terms?key=2021" would else stop a finished build, and nobody could mend it.

    >>> publishable("(c) ESA, see https://host/terms?key=2021"), publishable("Rue a?key=1")
    ('(c) ESA, see https://host/terms', '<left out>')
    """
    if not findings(text):
        return text
    left = redact(text)
    return "<left out>" if findings(left) else left


def findings(text: str, forbidden: Iterable[str] = ()) -> list[str]:
    """What stands in ``text`` that may not; empty when it is clean. Secrets themselves are not repeated.

    Args:
        text: content of a file; pictures inside it (data URIs) are not searched.
        forbidden: further strings that may not appear, such as the folder of the dataset.
    """
    text = _DATA_URI.sub("data:", text)
    tokens = dict(TOKENS)
    if not _PART_OF_PASSWORD.search(text):
        del tokens["an address with a password"]
    found = [what for what, pattern in tokens.items() if pattern.search(text)]
    signed = SIGNED.search(text)
    if signed:
        found.append(f"a signed address ({signed.group()[1:]}...)")
    if any(part.search(text) for part in _PARTS_OF_PATHS):
        found += [f"the local path {match.group()!r}" for match in LOCAL_PATH.finditer(text)]
    found += [f"the local path {word!r}" for word in forbidden if len(word) > 1 and word in text]
    return list(dict.fromkeys(found))


def findings_in(files: Iterable[Path], forbidden: Iterable[str] = ()) -> dict[Path, list[str]]:
    """File -> what may not stand in it, for those that hold something."""
    words = tuple(forbidden)
    found = {file: findings(file.read_text(encoding="utf-8", errors="replace"), words) for file in files}
    return {file: what for file, what in found.items() if what}
