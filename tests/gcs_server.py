"""Google's XML interface on loopback, as far as a dataset needs it: puts may ask for an object's generation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


class Bucket:
    """Objects by name: content, generation, when it was written."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.objects: dict[str, tuple[bytes, int, datetime]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.generation = 1_700_000_000_000_000
        self.page = 1000

    def put(self, name: str, content: bytes, wanted: str | None) -> int | None:
        """The new generation; None where the object has another than the one that is wanted (0: there is none)."""
        with self.lock:
            there = self.objects[name][1] if name in self.objects else 0
            if wanted is not None and int(wanted) != there:
                return None
            self.generation += 1
            self.objects[name] = (content, self.generation, datetime.now(UTC))
            return self.generation


class Handler(BaseHTTPRequestHandler):
    """One request; https://cloud.google.com/storage/docs/xml-api/reference-methods says what is answered."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and content are two writes
    buckets: dict[str, Bucket]

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode())

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else b""
        parts = urlsplit(self.path)
        _, name, key = (*unquote(parts.path).split("/", 2), "")[:3]
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        bucket = self.buckets.get(name)
        if bucket is None:
            return self._error(404, "NoSuchBucket")
        if self.command == "GET" and not key:
            return self._list(bucket, query)
        if "uploads" in query or "uploadId" in query:
            return self._parts(bucket, key, query, body)
        if self.command == "PUT":
            made = bucket.put(key, body, self.headers.get("x-goog-if-generation-match"))
            if made is None:
                return self._error(412, "PreconditionFailed")
            return self._answer(200, x_goog_generation=str(made), ETag=f'"{hashlib.md5(body).hexdigest()}"')
        if key not in bucket.objects:
            return self._error(404, "NoSuchKey")
        if self.command == "DELETE":
            bucket.objects.pop(key)
            return self._answer(204)
        return self._get(*bucket.objects[key])

    def _get(self, content: bytes, generation: int, written: datetime) -> None:
        headers = {
            "x_goog_generation": str(generation),
            "ETag": f'"{hashlib.md5(content).hexdigest()}"',
            "Last_Modified": written.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        if self.command == "HEAD":
            return self._answer(200, Content_Length=str(len(content)), **headers)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return self._answer(200, content, **headers)
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._answer(206, content[first : last + 1], **headers)

    def _list(self, bucket: Bucket, query: dict[str, str]) -> None:
        after = query.get("continuation-token", query.get("start-after", ""))
        prefix = query.get("prefix", "")
        names = sorted(name for name in bucket.objects if name.startswith(prefix) and name > after)
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Generation>{bucket.objects[name][1]}</Generation>"
            f"<LastModified>{bucket.objects[name][2].strftime(STAMP)}</LastModified><ETag>x</ETag>"
            f"<Size>{len(bucket.objects[name][0])}</Size></Contents>"
            for name in names[: bucket.page]
        )
        token = names[bucket.page - 1] if len(names) > bucket.page else ""
        more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
        self._answer(200, f"<?xml version='1.0'?><ListBucketResult>{entries}{more}</ListBucketResult>".encode())

    def _parts(self, bucket: Bucket, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            upload = f"u{len(bucket.uploads)}"
            bucket.uploads[upload] = {}
            said = f"<Bucket>b</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            return self._answer(200, f"<InitiateMultipartUploadResult>{said}</InitiateMultipartUploadResult>".encode())
        upload = query["uploadId"]
        if self.command == "PUT":
            bucket.uploads[upload][int(query["partNumber"])] = body
            return self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        parts = bucket.uploads.pop(upload)
        if self.command == "DELETE":
            return self._answer(204)
        made = bucket.put(key, b"".join(parts[number] for number in sorted(parts)), None)
        said = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        self._answer(200, said.encode(), x_goog_generation=str(made))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any


@contextmanager
def gcs_server(bucket: str, folder: Path, port: int = 0) -> Iterator[tuple[dict[str, str], Bucket]]:
    """A server with an empty bucket: the variables by which clients find it, and what it holds."""
    made = type("Served", (Handler,), {"buckets": {bucket: Bucket()}})
    server = ThreadingHTTPServer(("127.0.0.1", port), made)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    account = folder / "account.json"
    url = f"http://127.0.0.1:{server.server_port}"
    content = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    account.write_text(json.dumps(content))
    try:
        yield {"GOOGLE_SERVICE_ACCOUNT": str(account)}, made.buckets[bucket]  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
