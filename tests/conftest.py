"""Loud skips: what a machine lacks is named once at the end, and is a failure where TERRAWEFT_CI=1.

A test says what it needs by a mark, never by a skip of its own:

    @pytest.mark.realdata                     the real pixels; fixture ``realdata`` is their folder
    @pytest.mark.services("chromium")         programs from Debian's packages; ``make services`` installs them
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from flows.collector import collect_seldom
from tests.stepped_clock import SteppedClock, stepped_clock_in

CI_VARIABLE = "TERRAWEFT_CI"
REALDATA_VARIABLE = "TERRAWEFT_REALDATA"

# Where a failure stops a landing, property tests try the same examples each time; elsewhere they look for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("here", deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("ci" if os.environ.get(CI_VARIABLE) == "1" else "here")

collect_seldom()

_missing_key = pytest.StashKey[dict[str, list[str]]]()


def _program(*names: str) -> Path | None:
    """Path of the first program found, /usr/sbin included (nginx lives there)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = next((hit for name in names if (hit := shutil.which(name, path=path))), None)
    return Path(found) if found else None


def _stac_server() -> Path | None:
    """Python of the environment that ``make services`` makes for stac-fastapi-pgstac."""
    environment = Path(__file__).parents[1] / "build" / "services" / "stac-server"
    return environment / "bin" / "python" if (environment / ".installed").is_file() else None


def _postgis() -> Path | None:
    """Folder of PostgreSQL's programs, where the PostGIS extension of the same version is installed."""
    for programs in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        extension = Path("/usr/share/postgresql") / programs.parent.name / "extension" / "postgis.control"
        if (programs / "postgres").exists() and extension.exists():
            return programs
    return None


def _small_disk() -> Path | None:
    """The program that mounts a small file system, where this process may: root with that right."""
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run([program, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return Path(program) if tried.returncode == 0 else None


SERVICES: dict[str, Callable[[], Path | None]] = {
    "cc": lambda: _program("cc", "gcc"),
    "chromium": lambda: _program("chromium", "chromium-browser", "google-chrome"),
    "namespaces": lambda: _program("unshare") if os.geteuid() == 0 else None,
    "nginx": lambda: _program("nginx"),
    "postgis": _postgis,
    "small-disk": _small_disk,
    "stac-server": _stac_server,
}


def _realdata() -> Path | None:
    root = os.environ.get(REALDATA_VARIABLE)
    return Path(root) if root and (Path(root) / "catalog" / "catalog.json").is_file() else None


def _missing(item: pytest.Item) -> list[str]:
    """What the item's marks ask for and this machine lacks, in words."""
    lacks = []
    if item.get_closest_marker("realdata") and _realdata() is None:
        lacks.append(f"real data ({REALDATA_VARIABLE} names no folder that holds catalog/catalog.json)")
    for mark in item.iter_markers("services"):
        for name in mark.args:
            if name not in SERVICES:
                known = ", ".join(SERVICES)
                raise pytest.UsageError(f"{item.nodeid}: unknown service {name!r}; known: {known}")
            if SERVICES[name]() is None:
                lacks.append(f"service {name} (make services)")
    return lacks


SHARERS = ("test_pages.py", "test_sandbox_build.py", "test_texts_build.py")
"""Files whose tests look at one build of the whole sandbox: one process runs them all, and builds it once."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile``, all tests of a file in one process, and of `SHARERS` together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByWhatTheyShare(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "sharers" if file.endswith(SHARERS) else file

    return ByWhatTheyShare(config, log)


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background has SIGINT ignored, and children would inherit that: Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_missing_key] = defaultdict(list)


def pytest_runtest_setup(item: pytest.Item) -> None:
    lacks = _missing(item)
    if not lacks:
        return
    for what in lacks:
        item.config.stash[_missing_key][what].append(item.nodeid)
    reason = "not on this machine: " + "; ".join(lacks)
    if os.environ.get(CI_VARIABLE) == "1":
        pytest.fail(f"{reason} ({CI_VARIABLE}=1: a skip is a failure)", pytrace=False)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = config.stash[_missing_key]
    if not missing:
        return
    write = terminalreporter.write_line
    terminalreporter.section("NOT RUN: this machine lacks what these tests need", sep="!", red=True)
    for what, nodeids in sorted(missing.items()):
        write(f"{len(nodeids)} test(s) without {what}", red=True)
        for nodeid in nodeids:
            write(f"    {nodeid}")


def _present(found: Path | None, mark: str) -> Path:
    """The path; where it is missing, the test forgot its mark and says so."""
    if found is None:
        pytest.fail(f"not on this machine, and the test is not marked pytest.mark.{mark}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of the real pixels; the test that uses it is marked ``realdata``."""
    return _present(_realdata(), "realdata")


@pytest.fixture(scope="session")
def stepped_clock(tmp_path_factory: pytest.TempPathFactory) -> SteppedClock:
    """A time of day that can be set back under a program; the test that uses it is marked ``services("cc")``."""
    folder = tmp_path_factory.mktemp("clock")
    return stepped_clock_in(folder, _present(SERVICES["cc"](), 'services("cc")'))


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program; the test that uses it is marked ``services("chromium")``."""
    return _present(SERVICES["chromium"](), 'services("chromium")')


@pytest.fixture(scope="session")
def nginx() -> Path:
    """nginx's program; the test that uses it is marked ``services("nginx")``."""
    return _present(SERVICES["nginx"](), 'services("nginx")')


@pytest.fixture(scope="session")
def postgresql_programs() -> Path:
    """Folder of PostgreSQL's programs; the test that uses it is marked ``services("postgis")``."""
    return _present(SERVICES["postgis"](), 'services("postgis")')


@pytest.fixture(scope="session")
def stac_server_python() -> Path:
    """Python of the STAC server's environment; the test that uses it is marked ``services("stac-server")``."""
    return _present(SERVICES["stac-server"](), 'services("stac-server")')
