"""nginx from Debian over loopback, with a log of what it sent, and a proxy that makes every request late."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.request import urlopen

CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  log_format short '$request_method $uri $status $body_bytes_sent $http_range';
  access_log {folder}/access.log short;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  sendfile on; keepalive_requests 1000000; keepalive_timeout 300;
  server {{ listen 127.0.0.1:{port}; location / {{ root {root}; }} }}
}}
"""
LINE = re.compile(r"(\S+) (\S+) (\d+) (\d+) (.*)")


@dataclass(frozen=True)
class Sent:
    """What a server sent."""

    requests: int
    """GET requests answered."""
    bytes: int
    """Bytes of bodies."""
    heads: int
    """Other requests (HEAD)."""
    paths: dict[str, list[tuple[int, int]]]
    """Path -> (first byte, bytes sent) of each answer."""


@dataclass
class Served:
    """A folder behind nginx."""

    url: str
    """Address of the folder."""
    log: Path
    """nginx's access log."""

    def sent(self) -> Sent:
        """What was sent since the last call."""
        time.sleep(0.05)
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        paths: dict[str, list[tuple[int, int]]] = {}
        total = heads = requests = 0
        for line in lines:
            found = LINE.match(line)
            if found is None or found[2] == "/up":
                continue
            if found[1] != "GET":
                heads += 1
                continue
            requests += 1
            total += int(found[4])
            first = re.search(r"bytes=(\d+)-", found[5])
            paths.setdefault(found[2], []).append((int(first[1]) if first else 0, int(found[4])))
        return Sent(requests, total, heads, paths)


@contextmanager
def served(root: Path) -> Iterator[Served]:
    """The folder over HTTP; needs nginx (``make services``)."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    folder = Path(tempfile.mkdtemp(prefix="terraweft-nginx-"))
    (root / "up").write_text("up")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, root=root.resolve()) + "\n")
    config.write_text("user root;\n" + config.read_text())
    process = subprocess.Popen([nginx, "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(f"{url}/up")
        server = Served(url, folder / "access.log")
        server.sent()
        yield server
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(url: str) -> None:
    for _ in range(100):
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")


@contextmanager
def stac_served(documents: list[Path]) -> Iterator[str]:
    """Collections and items behind ``rustac serve``, a STAC API that holds them in memory."""
    port = free_port()
    rustac = Path(sys.executable).with_name("rustac")
    process = subprocess.Popen(
        [str(rustac), "serve", "--addr", f"127.0.0.1:{port}", *map(str, documents)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """The same server, every request late by so much; the address itself where that is nothing."""
    if seconds == 0:
        yield url
        return
    port, ready = free_port(), multiprocessing.get_context("spawn").Event()
    behind = int(url.rsplit(":", 1)[1])
    process = multiprocessing.get_context("spawn").Process(
        target=_proxy, args=(port, behind, seconds, ready), daemon=True
    )
    process.start()
    ready.wait(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def _proxy(port: int, behind: int, seconds: float, ready: Event) -> None:
    """Bytes to the server wait, bytes from it do not: what a longer way looks like to one request."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", behind, limit=1 << 20)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, wait: float) -> None:
            try:
                while data := await source.read(1 << 20):
                    if wait:
                        await asyncio.sleep(wait)
                    sink.write(data)
                    await sink.drain()
            except (ConnectionError, OSError):
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, up_writer, seconds), pump(up_reader, writer, 0.0))

    async def main() -> None:
        server = await asyncio.start_server(one, "127.0.0.1", port, limit=1 << 20, backlog=512)
        ready.set()
        async with server:
            await server.serve_forever()

    asyncio.run(main())
