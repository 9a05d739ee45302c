"""Connections to public hosts alone: a name is looked up once, and what was checked is what is connected to.

Between a check of a name and a second lookup by who connects, the name's owner could change the answer (DNS rebinding).
urllib3 connects to what was checked; of httpx, which looks names up itself, the connection is checked when it stands.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from schemas.errors import UnsupportedItemError
from shards.masked_logs import mask_http_logs
from sources.openers import is_private_host, unsigned

mask_http_logs()


class PublicConnection(HTTPConnection):
    """HTTP to public hosts."""

    def _new_conn(self) -> socket.socket:
        return _connected(self)


class PublicSecureConnection(HTTPSConnection):
    """HTTPS to public hosts; the certificate is checked against the name."""

    def _new_conn(self) -> socket.socket:
        return _connected(self)


class PublicPool(urllib3.HTTPConnectionPool):
    """Kept connections to one public host."""

    ConnectionCls = PublicConnection


class PublicSecurePool(urllib3.HTTPSConnectionPool):
    """Kept secure connections to one public host."""

    ConnectionCls = PublicSecureConnection


def public_addresses(host: str, port: int | None) -> list[str]:
    """The addresses of a host, looked up once.

    Raises:
        UnsupportedItemError: one of them is this machine or a private network.
        OSError: the name is not known.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if any(is_private_host(address) for address in addresses):
        raise UnsupportedItemError(f"{host} is an address of a private network")
    return addresses


def refuses_private(url: str) -> Callable[[str, Mapping[str, Any]], None]:
    """An extension ``trace`` for httpx, which calls it at each step of a request: it ends a connection to a private
    network as soon as it stands. One to a proxy stays, which looks names up itself.

    Raises:
        UnsupportedItemError: when called.
    """
    host = httpx.URL(url).raw_host.decode("ascii")
    connecting_to = ""

    def watch(event: str, info: Mapping[str, Any]) -> None:
        nonlocal connecting_to
        if event == "connection.connect_tcp.started":
            connecting_to = str(info["host"])
        elif event == "connection.connect_tcp.complete" and connecting_to == host:
            stream = info["return_value"]
            if is_private_host(str(stream.get_extra_info("server_addr")[0])):
                stream.close()
                raise UnsupportedItemError(f"{host} is an address of a private network", unsigned(url))

    return watch


def _connected(connection: HTTPConnection) -> socket.socket:
    try:
        addresses = public_addresses(connection.host, connection.port)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    last: OSError | None = None
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            last = error
    raise NewConnectionError(connection, f"no connection: {last}") from last
