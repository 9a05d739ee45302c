"""Two loopback hosts that ask for secrets as providers do: files on 127.0.0.1, log-ins and tokens on localhost."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from sources.credentials import Login

USER, PASSWORD = "ada", "canary-password-7f3"
CONTENT = bytes(range(256)) * 4


@dataclass(frozen=True)
class Seen:
    """One request."""

    host: str
    path: str
    authorization: str
    cookie: str


@dataclass
class Gates:
    """What the hosts know and saw."""

    files: str = ""
    login: str = ""
    good_for_s: float = 3600.0
    """Life of the tokens given out."""
    given: int = 0
    """Tokens given out; the newest alone is good."""
    revoked: bool = False
    """The newest token is refused as well."""
    grants: list[str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    signed_elsewhere: bool = False
    """After the log-in the file lies at a signed address of the other host."""
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def at(self, host: str) -> list[Seen]:
        return [request for request in self.seen if request.host.startswith(host)]

    def token(self) -> str:
        return f"canary-token-{self.given}"


@dataclass(frozen=True)
class TestVault:
    """A vault with what a test put into it."""

    __test__ = False

    variables: tuple[tuple[str, str], ...] = ()
    logins: tuple[tuple[str, Login], ...] = ()
    profiles: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def variable(self, name: str) -> str:
        return dict(self.variables)[name]

    def login(self, machine: str) -> Login:
        return dict(self.logins)[machine]

    def profile(self, name: str) -> tuple[str, ...]:
        return dict(self.profiles)[name]


@contextmanager
def gates(content: bytes = CONTENT) -> Iterator[Gates]:
    """Both hosts, one server each; every file holds the content."""
    state = Gates()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            form = {key: values[-1] for key, values in parse_qs(self.rfile.read(length).decode()).items()}
            self.note()
            self.oauth(form)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.note()
            path, _, query = self.path.partition("?")
            name = path.split("/")[1]
            handler = getattr(self, f"get_{name}", None)
            if handler is None:
                self.answer(404)
            else:
                handler(path, {key: values[-1] for key, values in parse_qs(query).items()})

        def note(self) -> None:
            get = self.headers.get
            state.seen.append(Seen(get("Host", ""), self.path, get("Authorization", ""), get("Cookie", "")))

        def is_good(self, token: str) -> bool:
            return token == state.token() and state.given > 0 and not state.revoked

        def oauth(self, form: dict[str, str]) -> None:
            state.grants.append(form["grant_type"])
            basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            is_known = {
                "password": form.get("password") == PASSWORD and form.get("client_id") == "public",
                "refresh_token": form.get("refresh_token") == f"renew-{state.given}",
                "client_credentials": self.headers.get("Authorization") == basic,
            }[form["grant_type"]]
            if not is_known:
                self.answer(401)
                return
            state.given += 1
            body = {"access_token": state.token(), "expires_in": state.good_for_s}
            if form["grant_type"] != "client_credentials":
                body["refresh_token"] = f"renew-{state.given}"
            self.answer(200, json.dumps(body).encode())

        def get_token(self, path: str, query: dict[str, str]) -> None:
            if path.endswith("/public"):
                self.answer(404)
                return
            state.given += 1
            expiry = datetime.fromtimestamp(state.now.timestamp() + state.good_for_s, UTC).isoformat()
            body = {"msft:expiry": expiry.replace("+00:00", "Z"), "token": f"st=1&sig={quote(state.token())}"}
            self.answer(200, json.dumps(body).encode())

        def get_blob(self, path: str, query: dict[str, str]) -> None:
            self.file() if self.is_good(query.get("sig", "")) else self.answer(403)

        def get_bearer(self, path: str, query: dict[str, str]) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self.file() if self.is_good(token) else self.answer(401)

        def get_moved(self, path: str, query: dict[str, str]) -> None:
            self.redirect(f"{state.login}/open/a.tif")

        def get_open(self, path: str, query: dict[str, str]) -> None:
            self.file()

        def get_data(self, path: str, query: dict[str, str]) -> None:
            """A file behind the log-in."""
            if "session=" in self.headers.get("Cookie", "") and not state.revoked:
                if state.signed_elsewhere:
                    expires = int(state.now.timestamp() + state.good_for_s)
                    self.redirect(f"{state.login}/signed{path}?Expires={expires}&Signature=canary-signature")
                else:
                    self.file()
                return
            self.redirect(f"{state.login}/authorize?back={quote(state.files + path)}")

        def get_signed(self, path: str, query: dict[str, str]) -> None:
            self.file() if query.get("Signature") == "canary-signature" else self.answer(403)

        def get_authorize(self, path: str, query: dict[str, str]) -> None:
            basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != basic:
                self.answer(401)
                return
            state.given += 1
            state.revoked = False
            self.redirect(f"{state.files}/welcome?back={quote(query['back'])}&code=canary-code")

        def get_welcome(self, path: str, query: dict[str, str]) -> None:
            self.redirect(query["back"], {"Set-Cookie": f"session=canary-cookie-{state.given}; Path=/"})

        def get_page(self, path: str, query: dict[str, str]) -> None:
            self.answer(200, b"<html>please accept</html>", {"Content-Type": "text/html"})

        def redirect(self, to: str, headers: dict[str, str] | None = None) -> None:
            self.answer(302, b"", {"Location": to, **(headers or {})})

        def file(self) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if not wanted:
                self.answer(200, content)
                return
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            self.answer(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

        def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    threads = [threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True) for s in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    state.files = f"http://127.0.0.1:{servers[0].server_address[1]}"
    state.login = f"http://localhost:{servers[1].server_address[1]}"
    try:
        yield state
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def port_of(url: str) -> str:
    """Host and port."""
    return urlsplit(url).netloc
