"""docs/quickstart.md, command by command, as a stranger would type it: in a network where its ports are free."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
IN_PLACE = "make install"
"""The one command that is not run: the tests run in what it made."""


def commands() -> str:
    """All shell blocks of the page, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    assert IN_PLACE in blocks[0]
    return "\n".join(blocks).replace(IN_PLACE, "true")


@pytest.mark.slow
@pytest.mark.services("namespaces")
def test_every_command_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    script = tmp_path / "quickstart.sh"
    script.write_text(f"set -em\nip link set lo up\nexport PREFECT_HOME={tmp_path}/prefect\n{commands()}\n")
    variables = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", script],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    said = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, said
    assert "deployed first-valley: 0 2 * * * Europe/Berlin" in done.stdout, said
    assert "nothing wrong" in done.stdout, said
    versions = list((tmp_path / "build" / "site" / "datasets" / "valley" / "versions").iterdir())
    assert len(versions) == 1, "the second run found something new"
    assert re.search(r"valley\s+fresh", done.stdout), said
