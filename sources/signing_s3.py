"""Object storage by signed addresses: AWS signature version 4 in the query, requester-pays included.

A signed address is plain HTTPS, so every engine reads it, and no key reaches GDAL's settings. Source: AWS,
"Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

from schemas.errors import UnsupportedItemError
from sources.credentials import Reference, bucket_of_host
from sources.openers import PlainOpener

LIFE_S = 3600
STEP_S = 1800
"""The signing time is a multiple of this: an address stays the same for a while, and readers' caches hold."""


class S3Signer:
    """Signs addresses of buckets."""

    def __init__(self, reference: Reference, opener: PlainOpener, now: Callable[[], float]) -> None:
        self.reference, self.now = reference, now
        self._lock = threading.Lock()
        self._keys: tuple[str, ...] | None = None
        self._signed_at = 0.0

    def resolve(self, href: str) -> str:
        """The signed HTTPS address; unsigned where the recipe names no keys."""
        credential = self.reference.credential
        bucket, key = bucket_and_key(href)
        url = object_url(bucket, key, credential.region, credential.endpoint)
        with self._lock:
            if self._keys is None:
                self._keys = self.reference.values()
            if self.now() - self._signed_at >= STEP_S:
                self._signed_at = self.now() // STEP_S * STEP_S
            keys, moment = self._keys, datetime.fromtimestamp(self._signed_at, UTC)
        if not keys:
            return url
        return presigned(url, keys, credential.region, moment, LIFE_S, credential.requester_pays)

    def headers(self, href: str) -> Mapping[str, str]:
        """None: the address carries the signature."""
        return {}

    def refresh(self, href: str) -> None:
        """Look the keys up again, and sign with the time of now."""
        with self._lock:
            self._keys, self._signed_at = None, self.now()


def bucket_and_key(href: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``, or of Amazon's address of it, in which the key is quoted.

    >>> bucket_and_key("https://b.s3.us-west-2.amazonaws.com/a%20b.tif"), bucket_and_key("s3://b/a%20b.tif")
    (('b', 'a b.tif'), ('b', 'a%20b.tif'))

    Raises:
        UnsupportedItemError: it is neither.
    """
    parts = urlsplit(href)
    is_uri = parts.scheme == "s3"
    bucket = parts.netloc if is_uri else bucket_of_host(parts.hostname or "")
    if not bucket or not parts.path.strip("/"):
        raise UnsupportedItemError("is no object of a bucket", href)
    key = parts.path.lstrip("/")
    return bucket, key if is_uri else unquote(key)


def object_url(bucket: str, key: str, region: str, endpoint: str | None) -> str:
    """HTTPS address of an object.

    >>> object_url("usgs-landsat", "a b/c.tif", "us-west-2", None)
    'https://usgs-landsat.s3.us-west-2.amazonaws.com/a%20b/c.tif'
    """
    path = quote(key, safe="/-_.~")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    if "." in bucket:  # a wildcard certificate covers one label
        return f"https://s3.{region}.amazonaws.com/{bucket}/{path}"
    return f"https://{bucket}.s3.{region}.amazonaws.com/{path}"


def presigned(
    url: str, keys: tuple[str, ...], region: str, moment: datetime, life_s: int, requester_pays: bool = False
) -> str:
    """A GET address with a signature of version 4.

    Args:
        url: of the object, quoted.
        keys: key id, secret and perhaps session token.
        region: that the store expects.
        moment: when it is signed, UTC.
        life_s: how long it is good.
        requester_pays: whether the reader agrees to pay.
    """
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    parts = urlsplit(url)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys[0]}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(life_s),
        "X-Amz-SignedHeaders": "host",
    }
    if len(keys) > 2 and keys[2]:
        query["X-Amz-Security-Token"] = keys[2]
    if requester_pays:
        query["x-amz-request-payer"] = "requester"
    text = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
    request = "\n".join(["GET", parts.path, text, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys[1]}".encode()
    for part in (stamp[:8], region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{url}?{text}&X-Amz-Signature={signature}"
