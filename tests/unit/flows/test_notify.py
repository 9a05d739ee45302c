"""Messages arrive at real servers; what goes wrong with them ends nothing and shows no address."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from flows.notify import Event, notify
from schemas.region_table import Notify
from tests.loopback import serving

EVENT = Event("failed", "inn", "s3://datasets/inn", "20260101T000000Z-00000000", "the catalog did not answer")
CANARY = "canary-7f3a9c"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook's address, and what it was told."""
    told: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path.endswith("broken") else 301 if self.path.endswith("moved") else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield f"{url}/{CANARY}", told


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[str]]]:
    """Port of an SMTP server that takes one mail, and the lines it was sent."""
    lines: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as peer, peer.makefile("rw", newline="\r\n") as stream:

            def say(text: str) -> None:
                stream.write(text + "\r\n")
                stream.flush()

            say("220 ready")
            in_body = False
            for raw in stream:
                line = raw.strip()
                lines.append(line)
                if in_body:
                    if line == ".":
                        in_body = False
                        say("250 taken")
                elif line.upper() == "DATA":
                    in_body = True
                    say("354 go on")
                elif line == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 fine")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], lines
    thread.join(10)


def test_a_webhook_is_told_what_happened(hook: tuple[str, list[dict[str, str]]]) -> None:
    address, told = hook
    assert notify(Notify(webhook_env="HOOK"), EVENT, {"HOOK": address}) == 1
    assert told == [
        {
            "kind": "failed",
            "region": "inn",
            "dataset": "s3://datasets/inn",
            "version": "20260101T000000Z-00000000",
            "text": "[terraweft] inn: failed: the catalog did not answer",
        }
    ], "a chat shows the text alone: of forty regions it must say which"


def test_a_mail_goes_to_all_who_are_named(mailbox: tuple[int, list[str]]) -> None:
    port, lines = mailbox
    address = f"smtp://127.0.0.1:{port}/?from=night@example.org&to=a+night@example.org&to=b@example.org"
    assert notify(Notify(mail_env="MAIL"), EVENT, {"MAIL": address}) == 1
    assert "Subject: [terraweft] inn: failed" in lines
    assert [line.lower() for line in lines if line.lower().startswith("rcpt")] == [
        "rcpt to:<a+night@example.org>",
        "rcpt to:<b@example.org>",
    ]
    assert "text: the catalog did not answer" in lines


def test_only_what_the_table_names_is_told(hook: tuple[str, list[dict[str, str]]]) -> None:
    address, told = hook
    assert notify(Notify(webhook_env="HOOK", when=("stale",)), EVENT, {"HOOK": address}) == 0
    assert told == []


@pytest.mark.parametrize("address", ["", f"file:///{CANARY}", f"http://127.0.0.1:1/{CANARY}", f"smtp://x/{CANARY}"])
def test_a_message_that_cannot_be_sent_ends_nothing_and_shows_no_address(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert notify(Notify(webhook_env="HOOK"), EVENT, {"HOOK": address}) == 0
    assert "HOOK" in caplog.text
    assert CANARY not in caplog.text


def test_a_server_s_refusal_is_no_success(hook: tuple[str, list[dict[str, str]]]) -> None:
    address, told = hook
    assert notify(Notify(webhook_env="HOOK"), EVENT, {"HOOK": f"{address}/broken"}) == 0
    assert len(told) == 1


def test_a_webhook_that_answers_byte_by_byte_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def handle(self) -> None:
            while not done.wait(0.01):
                self.wfile.write(b"H")

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setattr("flows.notify.WHOLE_S", 0.2)
    with serving(Dripping) as url:
        assert notify(Notify(webhook_env="HOOK", when=("failed",)), EVENT, {"HOOK": url}) == 0
        done.set()
        for thread in threading.enumerate():
            if thread.name == "notify":
                thread.join()
    assert "TimeoutError" in caplog.text


def test_a_webhook_that_moved_was_not_told(
    hook: tuple[str, list[dict[str, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    address, _ = hook
    assert notify(Notify(webhook_env="HOOK"), EVENT, {"HOOK": f"{address}/moved"}) == 0
    assert "HOOK was not accepted" in caplog.text
