from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ROOMS = [
    "captioners",
    "chips",
    "flows",
    "labelers",
    "reference",
    "reports",
    "sandbox",
    "schemas",
    "shards",
    "sources",
    "terraweft",
]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins() -> dict[str, str]:
    """Name -> version of every line of constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = project["project"]["optional-dependencies"].values()
    texts = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    return [requirement for text in texts if (requirement := Requirement(text)).name != "terraweft"]


def test_every_requirement_is_pinned_inside_its_range(project: dict[str, Any]) -> None:
    versions = pins()
    for requirement in requirements(project):
        assert canonicalize_name(requirement.name) in versions, f"{requirement} is not in constraints.txt"
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} excludes {version}"


def test_what_make_starts_keeps_what_it_compiled() -> None:
    said = "said: ; @echo $${PYTHONDONTWRITEBYTECODE-nothing}"
    command = ["make", "--silent", "--eval", said, "said"]
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "nothing\n"


def test_constraints_name_versions_and_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"https?://|file:|@|--|\+", text)


def imported(path: Path) -> set[str]:
    """Top-level names that a module imports, wherever in the module the import stands."""
    return imported_by(ast.walk(ast.parse(path.read_text())))


def imported_by(nodes: Iterable[ast.AST]) -> set[str]:
    """Top-level names that statements import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_whatever_a_room_imports_is_declared(project: dict[str, Any]) -> None:
    other_names = {"PyYAML": "yaml", "pillow": "PIL", "scikit-image": "skimage", "odc-geo": "odc"}
    declared = {other_names.get(r.name, r.name.replace("-", "_")) for r in requirements(project)}
    known = declared | {"distributed"} | sys.stdlib_module_names | set(ROOMS)
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            unknown = imported(path) - known
            assert not unknown, f"{path.relative_to(ROOT)} imports {unknown}, which pyproject.toml does not name"


def test_the_base_install_has_what_readers_import(project: dict[str, Any]) -> None:
    other_names = {"PyYAML": "yaml", "pillow": "PIL"}
    base = [Requirement(text).name for text in project["project"]["dependencies"]]
    known = {other_names.get(name, name.replace("-", "_")) for name in base} | sys.stdlib_module_names | set(ROOMS)
    for path in [*(ROOT / "schemas").glob("*.py"), *(ROOT / "shards").glob("*.py")]:
        if not path.name.startswith("export_"):
            assert not imported(path) - known, f"{path.relative_to(ROOT)} imports what only an extra brings"


def test_what_few_need_and_takes_long_is_imported_where_it_is_used() -> None:
    """Every command and every worker of a cluster pays for what a module imports when it is imported itself."""
    few = {"osmnx", "networkx"}
    for room in ROOMS:
        for path in (ROOT / room).glob("*.py"):
            found = few & imported_by(ast.parse(path.read_text()).body)
            assert not found, f"{path.relative_to(ROOT)} imports {found} at once"


def test_lint_type_check_contracts_and_wheel_cover_every_room(project: dict[str, Any]) -> None:
    tool = project["tool"]
    assert tool["mypy"]["packages"] == ROOMS
    assert tool["importlinter"]["root_packages"] == ROOMS
    assert set(tool["hatch"]["build"]["targets"]["wheel"]["packages"]) == {*ROOMS, "recipes"}


def test_a_room_says_what_belongs_in_it() -> None:
    for room in ROOMS:
        docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        assert docstring, room
        assert "Belongs here:" in docstring, room
        assert "Does not:" in docstring, room


def test_rooms_are_flat_and_have_no_drawer_for_odds_and_ends() -> None:
    for room in ROOMS:
        folders = [path for path in (ROOT / room).rglob("__init__.py") if path.parent != ROOT / room]
        assert not folders, folders
        drawers = {"utils.py", "helpers.py", "common.py"} & {path.name for path in (ROOT / room).glob("*.py")}
        assert not drawers, f"{room}: {drawers}"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("labelers", "import sources", "rooms look down only"),
        ("chips", "import shards", "rooms look down only"),
        ("schemas", "import chips", "rooms look down only"),
        ("sources", "import sandbox", "do not know that the sandbox exists"),
        ("sandbox", "import chips", "the sandbox imports schemas only"),
        ("shards", "import sources", "who only trains"),
        ("chips", "import prefect", "live in flows alone"),
        ("reports", "import distributed", "live in flows alone"),
        ("sources", "import tornado.ioloop", "live in flows alone"),
        ("schemas", "import rasterio", "schemas rest on"),
        ("chips", "import httpx", "open no file over the network"),
    ],
)
def test_a_planted_import_breaks_its_contract(room: str, line: str, contract: str, tmp_path: Path) -> None:
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    lint = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    assert subprocess.run(lint, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / room / "planted.py").write_text(f"{line}\n")
    found = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode != 0
    broken = [" ".join(part.split()) for part in found.stdout.split("BROKEN")[:-1]]
    assert any(contract in part for part in broken), found.stdout


def test_dask_distributed_is_refused_by_its_other_name(tmp_path: Path) -> None:
    ruff = [str(Path(sys.executable).parent / "ruff"), "check", "--no-cache", "--select", "TID251"]
    config = ["--config", str(ROOT / "pyproject.toml")]
    for room, refused in (("chips", True), ("flows", False)):
        planted = tmp_path / room / "planted.py"
        planted.parent.mkdir()
        planted.write_text("from dask.distributed import Client\n")
        found = subprocess.run([*ruff, *config, f"{room}/planted.py"], cwd=tmp_path, capture_output=True)
        assert (found.returncode != 0) is refused, room


CARD = ("dask", "geopandas", "openai", "osmnx", "prefect", "pystac_client", "rioxarray", "stackstac", "xarray", "zarr")
"""Packages that Terraweft is built on: each does its own job."""


@pytest.mark.parametrize("package", CARD)
def test_what_terraweft_is_built_on_is_used(package: str) -> None:
    line = re.compile(rf"^\s*(import|from) {package}\b", re.MULTILINE)
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert any(line.search(path.read_text(encoding="utf-8")) for path in modules), f"nothing imports {package}"
