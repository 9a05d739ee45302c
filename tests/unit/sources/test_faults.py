"""The question that is asked again where GDAL does not say what went wrong."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from schemas.errors import AccessDeniedError, AssetMissingError, DecodeError, SourceError
from sources.faults import as_source_error
from sources.openers import resolves_privately
from tests.loopback import serving


def told_of(url: str) -> SourceError:
    return as_source_error(OSError("Read or write failed"), url, url)


class Sender(BaseHTTPRequestHandler):
    """Sends on by what the path says; what comes there is refused. As a proxy it is given whole addresses."""

    goes: dict[str, str]
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        there = next((there for name, there in self.goes.items() if self.path.endswith(name)), None)
        self.send_response(302 if there else 403)
        if there:
            self.send_header("Location", there)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Silent."""


def sender(**goes: str) -> type[Sender]:
    return type("Here", (Sender,), {"goes": goes, "seen": []})


def test_a_redirect_of_a_public_host_into_a_private_network_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port or 0))]
        return public if str(host).endswith(".example.org") else real(host, port, *rest, **named)

    resolves_privately.cache_clear()
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    handler = sender(meta="http://169.254.169.254/latest", other="http://b.example.org/end", file="file:///etc/passwd")
    with serving(handler) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert isinstance(told_of("http://a.example.org/meta"), DecodeError)
        assert isinstance(told_of("http://a.example.org/file"), DecodeError)
        assert handler.seen == ["http://a.example.org/meta", "http://a.example.org/file"]
        assert isinstance(told_of("http://a.example.org/other"), AccessDeniedError), "to public hosts it is followed"
    resolves_privately.cache_clear()


def test_redirects_are_followed_to_their_end_and_no_circle_is(loopback: Any) -> None:
    loopback.faults["/a"] = [(302, {"Location": "/b"})]
    loopback.faults["/b"] = [(404, {})]
    assert isinstance(told_of(f"{loopback.url}/a"), AssetMissingError)
    handler = sender(circle="/circle")
    with serving(handler) as url:
        assert isinstance(told_of(f"{url}/circle"), DecodeError)
    assert len(handler.seen) == 8
