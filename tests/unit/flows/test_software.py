"""A cluster whose workers are not ours is refused in one line; one that is ours is taken."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Thread

import dask
import pytest

from flows.cluster import dask_client
from flows.software import differences, fingerprint, require_same_software
from schemas.errors import UserError
from tests.dask_cluster import own_cluster


def test_what_differs_is_named_with_both_versions() -> None:
    here = fingerprint()
    assert differences(here, here) == ""
    assert differences(here, here | {"numpy": "1.0"}) == f"numpy 1.0 (here {here['numpy']})"
    missing = {name: value for name, value in here.items() if name != "rasterio"}
    assert "rasterio missing" in differences(here, missing)


def test_an_address_where_nobody_answers_is_one_line(tmp_path: Path) -> None:
    nobody = dask_client("tcp://127.0.0.1:1", 1, tmp_path, patience_s=0.5)
    with pytest.raises(UserError, match="no Dask scheduler answers there"), nobody:
        pass


def test_what_listens_and_is_no_scheduler_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a dashboard, or a forwarded port, answers no greeting
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        nobody = dask_client(address, 1, tmp_path, patience_s=0.2)
        with pytest.raises(UserError, match="no Dask scheduler answers there"), nobody:
            pass


def test_an_address_that_wants_encryption_is_named_with_the_one_that_is_meant(tmp_path: Path) -> None:
    """Its scheduler lets go of whoever speaks plainly, as if nobody were there."""

    def encrypted(found: socket.socket) -> None:
        for _ in range(2):  # the greeting, then the question
            caller, _ = found.accept()
            with suppress(OSError):
                asked.wrap_socket(caller, server_side=True).close()

    asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate of its own: an alert, which is TLS's
    with socket.create_server(("127.0.0.1", 0)) as scheduler:
        Thread(target=encrypted, args=(scheduler,), daemon=True).start()
        port = scheduler.getsockname()[1]
        plain = dask_client(f"tcp://127.0.0.1:{port}", 1, tmp_path, patience_s=5)
        with pytest.raises(UserError, match=rf"speaks TLS \(give tls://127.0.0.1:{port}, .*TLS__CA_FILE"), plain:
            pass


def test_an_encrypted_address_without_certificates_is_one_line(tmp_path: Path) -> None:
    unnamed = dask_client("tls://127.0.0.1:1", 1, tmp_path, patience_s=0.2)
    with pytest.raises(UserError, match=r"no certificate is named \(name .*TLS__CA_FILE"), unnamed:
        pass
    is_wanted = dask.config.set({"distributed.comm.require-encryption": True})
    with is_wanted, pytest.raises(UserError, match="it has to be"), dask_client("tcp://127.0.0.1:1", 1, tmp_path):
        pass


def test_a_cluster_without_workers_is_refused_and_one_of_ours_is_taken(tmp_path: Path) -> None:
    with own_cluster(0, processes=False, protocol="tcp", host="127.0.0.1") as found:
        nobody = dask_client(found.scheduler_address, 1, tmp_path, worker_patience_s=0.1)
        with pytest.raises(UserError, match="has no workers"), nobody:
            pass
        found.adapt(minimum=0, maximum=1, interval="20ms")  # it starts one when there is something to do
        with dask_client(found.scheduler_address, 1, tmp_path) as client:
            require_same_software(client, "of ours")
            assert client.submit(abs, -1).result() == 1
