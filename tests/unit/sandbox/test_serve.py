"""The sandbox behind its two servers is a catalog like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac_client
import pytest
import rasterio

from sandbox.products import SandboxIndex
from sandbox.serve import SandboxServer


@pytest.fixture(scope="module")
def server(tiny: SandboxIndex) -> Iterator[SandboxServer]:
    with SandboxServer(tiny.root) as running:
        yield running


def found(server: SandboxServer, collection: str, bbox: tuple[float, ...], when: str | None = None) -> list[str]:
    client = pystac_client.Client.open(server.stac_url)
    search = client.search(collections=[collection], bbox=list(bbox), datetime=when)
    return sorted(item.id for item in search.items())


def test_search_by_box_time_and_collection(server: SandboxServer, tiny: SandboxIndex) -> None:
    north, south = tiny.regions["north"], tiny.regions["south"]
    june = found(server, "sentinel-2-l2a", north, "2022-06-01/2022-06-30")
    assert len(june) == 4
    assert all("20220620T101039" in name for name in june)
    assert len(found(server, "sentinel-2-l2a", north)) == 12
    assert len(found(server, "sentinel-2-l2a", south)) == 2
    assert found(server, "corine-clc2018", south) == []
    assert found(server, "osm-extract", south) == ["osm-south"]


def test_items_without_a_datetime_are_found_by_their_range(server: SandboxServer, tiny: SandboxIndex) -> None:
    assert len(found(server, "esa-worldcover", tiny.regions["north"], "2021-03-01/2021-04-01")) == 2


def test_all_collections_are_listed(server: SandboxServer, tiny: SandboxIndex) -> None:
    client = pystac_client.Client.open(server.stac_url)
    assert {c.id for c in client.get_collections()} == set(tiny.collections)


def test_pixels_are_read_in_ranges_and_equal_the_file(server: SandboxServer, tiny: SandboxIndex) -> None:
    client = pystac_client.Client.open(server.stac_url)
    item = next(client.search(collections=["enmap-l2a"], bbox=list(tiny.regions["north"])).items())
    href = item.assets["image"].href
    window = ((3, 10), (5, 17))
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(f"/vsicurl/{href}") as data:
        remote = data.read([1, 100], window=window)
    with rasterio.open(tiny.root / "files" / href.removeprefix(server.files_url + "/")) as data:
        assert np.array_equal(remote, data.read([1, 100], window=window))
    lines = [line.split() for line in server.access_log.read_text().splitlines() if "SPECTRAL_IMAGE" in line]
    assert {line[2] for line in lines if line[0] == "GET"} == {"206"}
    assert all(line[4].startswith("bytes=") for line in lines if line[0] == "GET")


def test_what_is_not_there_is_404(server: SandboxServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.files_url}/sentinel-2-l2a/none.tif")
    caught.value.close()
    assert caught.value.code == 404


def test_a_folder_that_is_no_sandbox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no complete sandbox"), SandboxServer(tmp_path):
        pass


def test_servers_end_when_the_parent_is_killed(tiny: SandboxIndex) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from sandbox.serve import SandboxServer\n"
        "s = SandboxServer(Path(sys.argv[1])).__enter__()\n"
        "print(s.files_url, s.stac_url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny.root)], capture_output=True, text=True, cwd=root, timeout=60, check=False
    )
    assert run.returncode == -signal.SIGKILL
    urls = run.stdout.split()
    assert len(urls) == 2
    for url in urls:
        assert _ends(url), url


def _ends(url: str) -> bool:
    """Whether a server stops answering; asked over and over for a while."""
    for _ in range(3000):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
        except (urllib.error.URLError, ConnectionError):
            return True
        os.sched_yield()
    return False
