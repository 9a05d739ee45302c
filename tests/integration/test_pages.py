"""The code on the pages runs, in order, on a dataset that lies where `make demo` leaves it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import Build

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/dataset.md", "docs/reading.md"])
def test_the_python_of_a_page_runs(page: str, build: Build, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    (tmp_path / "build/demo").mkdir(parents=True)
    (tmp_path / "build/demo/dataset").symlink_to(build.root, target_is_directory=True)
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
