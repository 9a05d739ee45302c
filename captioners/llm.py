"""A server of the chat-completions kind, through the `openai` package: the one file of this room with a network.

What comes back is a value: `Received`, `Refused` or `Lost`. The package's own retries are off (a retry after a
time-out can be billed twice), and none of its exceptions leaves this file: they carry the request, and with it the key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from captioners.completion import is_error, whole
from captioners.prompt import Messages
from captioners.server_address import BASIC, require_address
from schemas.errors import MissingExtraError, RecipeError, UserError
from shards.masked_logs import mask_http_logs

mask_http_logs()

TIMEOUT_S = 300.0
"""Read time-out: long, since a call given up is a call in doubt."""
WHOLE = 4.0
"""A call may take so many read time-outs in all: a body that comes byte by byte never runs into one."""
NEVER_LEFT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
"""Failures before anything was sent."""
HTTP_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2")
"""Whose errors the `openai` package lets through from a download."""
LINE = 200
"""Most characters of what a server says that are told."""
KEPT = 4000
"""Most characters of what a server says that are kept."""
MOST_BYTES = 32 << 20
"""No answer is as long, unpacked: some kilobytes that were packed well fill all memory, and then the ledger."""
MOST_RESULTS = 4 << 30
"""The same of a batch's results, which go to the disk."""
PACKED = ("gzip", "deflate", "identity", "")
"""Content codings that are taken, one at a time: of others a piece that was received has no bounds."""


@dataclass(frozen=True)
class Received:
    """An answer."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Response headers."""
    body: bytes
    """Raw body."""


@dataclass(frozen=True)
class Refused:
    """An HTTP error: nothing was billed."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Response headers."""
    text: str
    """What the server said, without the key."""
    code: str = ""
    """Its error code: ``insufficient_quota``."""
    said: str = ""
    """Its message in one line, without the key."""

    @property
    def why(self) -> str:
        """For the line that a person reads."""
        return f"HTTP {self.status}: {self.said}" if self.said else f"HTTP {self.status}"


@dataclass(frozen=True)
class Lost:
    """No answer came."""

    error: str
    """Name of the failure."""
    was_sent: bool
    """Whether the call may have been billed."""
    said: str = field(default="", compare=False)
    """What the system said of it: a certificate that nobody knows, a name that is none."""

    @property
    def why(self) -> str:
        """For the line that a person reads."""
        return f"{self.error}: {self.said}" if self.said else self.error


class TooLongError(Exception):
    """A body that is longer than any answer, or packed so that nobody knows before."""


class SentElsewhereError(Exception):
    """A redirect of what was sent: prompts and pictures go where the recipe says, and nowhere else."""

    def __init__(self, status: int, address: str) -> None:
        super().__init__(f"a redirect to {address}")
        self.status = status


class Key:
    """An API key that prints, pickles and copies as nothing.

    Args:
        value: the key, or `BASIC` and a log-in; None for a server that wants none.
    """

    def __init__(self, value: str | None) -> None:
        self._value = value
        self._secrets = _secrets(value) if value else ()

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not leave its process")

    def reveal(self) -> str:
        """The key, for the one place that sends it."""
        return self._value or "none"

    def headers(self) -> dict[str, str]:
        """What is sent in the place of a bearer token."""
        return {"Authorization": self._value} if self._value and self._value.startswith(BASIC) else {}

    def strike(self, text: str) -> str:
        """A text with the key taken out."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


class ChatServer:
    """One server; used from one event loop and closed in it.

    Args:
        base_url: its root, ``http://host/v1``.
        key: its key.
        timeout_s: read time-out of a call.

    Raises:
        RecipeError: as `require_address`.
        UserError: the proxy that the environment names is of no use.
        MissingExtraError: the package is not installed.
    """

    def __init__(self, base_url: str, key: Key, timeout_s: float = TIMEOUT_S) -> None:
        require_address(base_url)  # a call that can go nowhere would count as one in doubt
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError.of("openai", "build") from error
        self._openai, self._key, self.base_url, self._timeout_s = openai, key, base_url, timeout_s
        try:
            client = openai.DefaultAsyncHttpxClient(
                timeout=timeout_s,
                headers={"Accept-Encoding": "gzip, deflate"},
                event_hooks={"response": [_stay, _bound]},
            )
            self._client = openai.AsyncOpenAI(
                api_key=key.reveal(), base_url=base_url, max_retries=0, timeout=timeout_s, http_client=client,
                default_headers=key.headers(),
            )  # fmt: skip
        except (ImportError, ValueError) as error:
            socks = isinstance(error, ImportError)
            mend = "pip install socksio, or unset it" if socks else "write it as http://host:port"
            why = "the proxy that the environment names cannot be used"
            raise UserError(why, where="HTTPS_PROXY, HTTP_PROXY, ALL_PROXY", mend=mend) from None
        self._response: Any = _response_class()
        self._client.organization = self._client.project = None  # never taken from the environment

    def __reduce__(self) -> NoReturn:
        raise TypeError("a connection does not leave its process")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def complete(
        self, model: str, messages: Messages, parameters: Mapping[str, Any]
    ) -> Received | Refused | Lost:
        """One chat completion, sent once.

        By the package's documented way to any endpoint: its typed one walks through every message and schema, which
        takes a third of a call's time, and changes nothing here.
        """
        body = {"model": model, "messages": messages, **parameters}
        try:
            async with asyncio.timeout(WHOLE * self._timeout_s):
                answer = await self._sent(self._client.post("/chat/completions", cast_to=self._response, body=body))
        except TimeoutError:
            return Lost("TooSlow", was_sent=True)
        if isinstance(answer, Received) and is_error(answer.body):  # kept as an answer, it would never be asked again
            return Lost("ErrorBody", was_sent=True)
        return answer

    async def upload(self, path: Path) -> dict[str, Any] | Refused | Lost:
        """Upload the requests of a batch; the file's description."""
        with path.open("rb") as file:
            create = self._client.files.with_raw_response.create
            return _described(await self._sent(create(file=(path.name, file), purpose="batch")))

    async def create_batch(self, file_id: str, name: str) -> dict[str, Any] | Refused | Lost:
        """Start a batch; ``name`` is our own, by which it can be found again."""
        create = self._client.batches.with_raw_response.create
        sent = create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h",
            metadata={"terraweft": name},
        )  # fmt: skip
        return _described(await self._sent(sent))

    async def batch(self, batch_id: str) -> dict[str, Any] | Refused | Lost:
        """How a batch stands."""
        return _described(await self._sent(self._client.batches.with_raw_response.retrieve(batch_id)))

    async def batches(self, after: str | None = None) -> dict[str, Any] | Refused | Lost:
        """A page of the batches that the server knows, the newest first."""
        page: Any = self._client.batches.with_raw_response.list
        return _described(await self._sent(page(limit=100, **({"after": after} if after else {}))))

    async def download(self, file_id: str, path: Path) -> Refused | Lost | None:
        """Write a file's content to a path, in pieces."""
        failed: Refused | Lost | None = None
        try:
            async with self._client.files.with_streaming_response.content(file_id) as response:
                with path.open("wb") as file:
                    async for piece in response.iter_bytes(1 << 20):
                        file.write(piece)
        except Exception as error:
            failed = self._failed(error)
        return failed

    async def _sent(self, call: Any) -> Received | Refused | Lost:
        failed: Refused | Lost
        try:
            raw = await call
            return Received(int(raw.status_code), dict(raw.headers), bytes(raw.content))
        except Exception as error:
            failed = self._failed(error)
        return failed

    def _failed(self, error: Exception) -> Refused | Lost:
        """The package's exception as a value.

        Raises:
            Exception: one that is no failure of a call.
        """
        openai = self._openai
        if isinstance(error, openai.APIStatusError):
            headers = dict(error.response.headers)
            text = self._key.strike(whole(str(error)))[:KEPT]
            said = _one_line(self._key.strike(_message(error.body) or text))
            return Refused(int(error.status_code), headers, text, str(error.code or ""), said)
        is_lost = isinstance(error, openai.APIConnectionError)
        elsewhere = error.__cause__ if is_lost else error
        if isinstance(elsewhere, SentElsewhereError):
            said = _one_line(self._key.strike(str(elsewhere)))
            return Refused(elsewhere.status, {}, said, said=said)
        is_ours = isinstance(error, TooLongError) or type(error).__module__.split(".")[0] in HTTP_PACKAGES
        if not (is_lost or is_ours):
            raise error
        cause = (error.__cause__ or error) if is_lost else error
        name = type(cause).__name__
        return Lost(name, was_sent=name not in NEVER_LEFT, said=_one_line(self._key.strike(str(cause))))


async def _stay(response: Any) -> None:
    """Let a redirect end a call that sends something; what is only fetched (a batch's results) may lie elsewhere.

    Raises:
        SentElsewhereError: the server names another address.
    """
    if response.has_redirect_location and response.request.method != "GET":
        there = urlsplit(str(response.request.url.join(response.headers["location"])))
        raise SentElsewhereError(
            response.status_code, f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}"
        )


async def _bound(response: Any) -> None:
    """Let a body end the call as soon as it is too long; the client calls it before it takes the body in.

    Raises:
        TooLongError: here, or where the body is read.
    """
    if response.headers.get("content-encoding", "").strip().lower() not in PACKED:
        raise TooLongError(f"packed as {response.headers['content-encoding'][:40]}")
    most = MOST_RESULTS if response.request.url.path.endswith("/content") else MOST_BYTES
    whole_body = response.aiter_bytes

    async def pieces(*sizes: int | None) -> AsyncIterator[bytes]:
        count = 0
        async for piece in whole_body(*sizes):
            count += len(piece)
            if count > most:
                raise TooLongError(f"more than {most} bytes")
            yield piece

    response.aiter_bytes = pieces


def _secrets(value: str) -> tuple[str, ...]:
    """What of a key a server may repeat: all of it; of a log-in its code and its password."""
    if not value.startswith(BASIC):
        return (value,)
    code = value.removeprefix(BASIC)
    try:
        _, _, password = base64.b64decode(code).decode().partition(":")
    except (binascii.Error, ValueError):
        password = ""
    return (code, password) if password else (code,)


def refused_key(answer: Refused) -> RecipeError:
    """The line for a person whose key the server does not take (HTTP 401, 403)."""
    what = f"the model's server refused the key ({answer.why})"
    return RecipeError(what, where="captions.api_key_env", mend="check the key")


def moved(answer: Refused) -> RecipeError:
    """The line for a person whose server sends calls elsewhere (HTTP 3xx)."""
    what = f"the model's server is somewhere else ({answer.why})"
    return RecipeError(what, where="captions.base_url", mend="name that address, if you trust it")


def _message(body: object) -> str:
    """The message of an error's body, as most servers send it."""
    told = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None
    return whole(told) if isinstance(told, str) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:LINE]


def _response_class() -> Any:
    """Class of a raw response: the package went from httpx to httpx2 with its third version."""
    import openai

    return importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx").Response


def _described(answer: Received | Refused | Lost) -> dict[str, Any] | Refused | Lost:
    """The JSON of an answer; one that is none counts as lost."""
    if not isinstance(answer, Received):
        return answer
    try:
        return dict(json.loads(answer.body))
    except (ValueError, TypeError, RecursionError):
        return Lost("not JSON", was_sent=True)
