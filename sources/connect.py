"""Connections to public hosts alone: a name is looked up once, and what was checked is what is connected to.

Between a check of a name and a second lookup by who connects, the name's owner could change the answer (DNS rebinding).
"""

from __future__ import annotations

import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from schemas.errors import UnsupportedItemError
from sources.openers import is_private_host


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
