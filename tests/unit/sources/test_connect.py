"""A name that changes its address between check and connection leads nowhere; a lookup serves one connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import SourceError, TransientSourceError, UnsupportedItemError
from schemas.georef import GeoRef
from sources import connect
from sources.documents import read_document
from sources.fetch import _pool, _route, fetch_range
from sources.heights import _read_one
from sources.label_pixels import opened
from sources.openers import PlainOpener, resolves_privately
from sources.web import WebSession
from tests.loopback import serving
from tests.unit.sources.gates import CONTENT, gates, port_of


class Names:
    """A name server whose answer changes from lookup to lookup; the last one stays."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.asked = list(addresses), 0
        self.real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host != "files.example.org":
            return self.real(host, port, *rest, **named)
        self.asked += 1
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.fixture(autouse=True)
def fresh() -> None:
    _route.cache_clear()
    _pool.cache_clear()
    resolves_privately.cache_clear()


def test_a_name_that_becomes_private_after_the_check_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names("93.184.215.14", "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with gates() as host:
        href = f"http://files.example.org:{port_of(host.files).split(':')[1]}/open/a.tif"
        with pytest.raises(UnsupportedItemError, match=r"files\.example\.org is an address of a private network"):
            fetch_range(href, PlainOpener(allow_local=False), 0, 16)
        assert names.asked == 2
        assert host.seen == []
        assert fetch_range(href, PlainOpener(allow_local=True), 0, 16).data == CONTENT[:16], "the test can fail"


def test_what_was_looked_up_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names("127.0.0.1", "192.0.2.1")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    monkeypatch.setattr(connect, "is_private_host", lambda _: False)
    monkeypatch.setattr("sources.openers.resolves_privately", lambda _: False)
    with gates() as host:
        href = f"http://files.example.org:{port_of(host.files).split(':')[1]}/open/a.tif"
        assert fetch_range(href, PlainOpener(allow_local=False), 16, 16).data == CONTENT[16:32]
        assert {seen.host for seen in host.seen} == {port_of(href)}, "the host keeps its name"
    assert names.asked == 1


def test_a_catalog_s_name_that_becomes_private_after_the_check_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with gates() as host:
        href = f"http://files.example.org:{port_of(host.files).split(':')[1]}/open/a.json"
        for method in ("GET", "POST"):
            resolves_privately.cache_clear()
            monkeypatch.setattr(socket, "getaddrinfo", Names("93.184.215.14", "127.0.0.1"))
            with pytest.raises(UnsupportedItemError, match=r"files\.example\.org is an address of a private network"):
                WebSession(PlainOpener(), "https://stac.example.org").request(href, method, {"a": 1})
        assert host.seen == []
        for named in ({"allow_local": True}, {"root": href}):
            with suppress(SourceError):
                WebSession(**{"opener": PlainOpener(), "root": "https://stac.example.org"} | named).request(href)
        assert len(host.seen) == 2, "the test can fail"


def test_a_document_of_a_name_that_becomes_private_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names("93.184.215.14", "127.0.0.1"))
    with gates() as host:
        href = f"http://files.example.org:{port_of(host.files).split(':')[1]}/open/a.tif"
        with pytest.raises(UnsupportedItemError, match="is an address of a private network"):
            read_document(href, PlainOpener(allow_local=False))
        assert host.seen == []
        assert read_document(href, PlainOpener(allow_local=True)) == CONTENT


def test_a_proxy_may_stand_in_a_private_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with gates() as host:
        monkeypatch.setenv("http_proxy", host.files)
        monkeypatch.setattr(socket, "getaddrinfo", Names("93.184.215.14"))
        with suppress(SourceError):
            WebSession(PlainOpener(), "https://stac.example.org").request("http://files.example.org/open/a.json")
        assert len(host.seen) == 1


def test_a_name_that_nobody_knows_may_be_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransientSourceError, match="no connection"):
        fetch_range("https://files.example.org/a.tif", PlainOpener(allow_local=False), 0, 16)


class Servers:
    """A public server that sends everybody to one in a private network, which should be asked nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for module in ("sources.openers", "sources.connect"):
            monkeypatch.setattr(f"{module}.is_private_host", lambda host: host != "127.0.0.1")
        monkeypatch.setattr("sources.openers.resolves_privately", lambda _: False)

    @contextmanager
    def running(self) -> Iterator[str]:
        """The public address."""
        seen = self.asked

        class Inside(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_error(404)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        inside = ThreadingHTTPServer(("127.0.0.2", 0), Inside)
        thread = threading.Thread(target=inside.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()

        class Public(Inside):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.2:{inside.server_address[1]}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

        try:
            with serving(Public) as url:
                yield url
        finally:
            inside.shutdown()
            inside.server_close()
            thread.join()


def through_gdal(href: str, opener: PlainOpener) -> None:
    with opened(href, opener):
        pass


def heights(href: str, opener: PlainOpener) -> None:
    _read_one(href, GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4)), opener)


READERS: list[Callable[[str, PlainOpener], object]] = [
    lambda href, opener: fetch_range(href, opener, 0, 16),
    read_document,
    through_gdal,
    heights,
    lambda href, opener: WebSession(opener, href, opener.allow_local).request(href),
]


@pytest.mark.parametrize("read", READERS)
def test_nobody_follows_a_public_server_inwards(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str, PlainOpener], object]
) -> None:
    servers = Servers(monkeypatch)
    with servers.running() as url, pytest.raises(SourceError):
        read(f"{url}/a.tif", PlainOpener(allow_local=False))
    assert servers.asked == []


@pytest.mark.parametrize("read", READERS)
def test_nobody_follows_it_where_other_catalogs_may_lie_there(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str, PlainOpener], object]
) -> None:
    servers = Servers(monkeypatch)
    with servers.running() as url, pytest.raises(UnsupportedItemError, match="a redirect of a public server"):
        read(f"{url}/a.tif", PlainOpener(allow_local=True))
    assert servers.asked == []


@pytest.mark.parametrize("read", READERS)
def test_a_log_in_that_no_recipe_names_is_shown_to_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Callable[[str, PlainOpener], object]
) -> None:
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(Handler) as url, pytest.raises(SourceError):
        read(f"{url}/c.tif", PlainOpener(allow_local=True))
    assert shown
    assert set(shown) == {None}
