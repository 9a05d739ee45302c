"""Telling people about a refresh: a JSON document to a webhook, or a mail, at addresses from the worker's environment.

The addresses are secrets: they are looked up where they are used, and stand in no log, error or parameter. A message
that does not arrive is logged and ends nothing.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from functools import partial
from typing import Any

from schemas.region_table import Notify

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""How long a server may be silent."""
WHOLE_S = 60.0
"""How long a message may take in all: a server that answers byte by byte is never silent."""
PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True)
class Event:
    """Something that people may want to hear of."""

    kind: str
    """``published``, ``failed`` or ``stale``."""
    region: str
    """Name of the region."""
    dataset: str
    """Where the dataset lies."""
    version: str
    """Its current version; empty where there is none."""
    text: str
    """One sentence."""

    @property
    def headline(self) -> str:
        """Whose event it is, and of what kind."""
        return f"[terraweft] {self.region}: {self.kind}"


def notify(rule: Notify, event: Event, environment: Mapping[str, str]) -> int:
    """Send an event to whoever the table names; how many messages were accepted."""
    if event.kind not in rule.when:
        return 0
    sent = 0
    for name, send in ((rule.webhook_env, post_json), (rule.mail_env, send_mail)):
        if name is None:
            continue
        address = environment.get(name, "").strip()
        if not address:
            log.warning("%s is not set: nobody was told that %s %s", name, event.region, event.kind)
            continue
        try:
            _in_time(partial(send, address, event))
            sent += 1
        except Exception as error:  # an address may be wrong in many ways, and the refresh is done all the same
            log.warning("the message to %s was not accepted: %s", name, type(error).__name__)
    return sent


def _in_time(send: Callable[[], None]) -> None:
    """Send a message; a thread that is still at it after `WHOLE_S` is left to itself.

    Raises:
        TimeoutError: it took too long.
        Exception: what sending raised.
    """
    failed: list[Exception] = []

    def run() -> None:
        try:
            send()
        except Exception as error:
            failed.append(error.with_traceback(None))  # which holds this frame, and it the connection

    thread = threading.Thread(target=run, name="notify", daemon=True)
    thread.start()
    thread.join(WHOLE_S)
    if thread.is_alive():
        raise TimeoutError
    if failed:
        raise failed.pop()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a POST that is sent elsewhere arrives as a GET without its message."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer is an error."""


def post_json(address: str, event: Event) -> None:
    """POST the event as JSON. Its ``text`` says all of it: Slack, Mattermost and Teams show nothing else.

    Raises:
        ValueError: the address is neither http nor https.
        OSError: the server did not take it.
    """
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("a webhook has an http or https address")
    body = json.dumps(asdict(event) | {"text": f"{event.headline}: {event.text}"}).encode()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"}, method="POST")
    urllib.request.build_opener(_Stay).open(request, timeout=PATIENCE_S).close()


def send_mail(address: str, event: Event) -> None:
    """Send the event by mail; ``smtp`` uses TLS where the server offers it, ``smtps`` always.

    Raises:
        ValueError: the address names no sender or no recipient.
        smtplib.SMTPException: the server did not take it.
    """
    parts = urllib.parse.urlsplit(address)
    query = urllib.parse.parse_qs(parts.query.replace("+", "%2B"))  # a plus is no space in a mail's address
    if parts.scheme not in PORTS or "from" not in query or "to" not in query:
        raise ValueError("a mail address is smtp[s]://user:password@host:port/?from=a@b&to=c@d")
    message = EmailMessage()
    message["Subject"] = event.headline
    message["From"], message["To"] = query["from"][0], ", ".join(query["to"])
    message.set_content("\n".join(f"{key}: {value}" for key, value in asdict(event).items()))
    host, port = parts.hostname or "localhost", parts.port or PORTS[parts.scheme]
    context = ssl.create_default_context()
    with _connect(parts.scheme, host, port, context) as server:
        if parts.username:
            server.login(urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
        server.send_message(message)


def _connect(scheme: str, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    """A connection, encrypted from the start (``smtps``) or once the server offers it."""
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=context)
    server = smtplib.SMTP(host, port, timeout=PATIENCE_S)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=context)
    return server
