"""Wall time and peak memory of a command with all its children: what the README says of `make demo` and `make test`.

    python bench/measure.py demo -- make demo        writes bench/results/demo.json

Peak memory is the largest sum of the resident sets (PSS where the kernel tells it) of the whole process tree, sampled
once a second, and more seldom where a sample takes long: the meter, which walks the pages of every process, once took a
seventh of two cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"
LEAST_PAUSE_S, PAUSES_PER_SAMPLE = 1.0, 30
"""Between two samples: so many times as long as one takes, at least."""


def tree_bytes(process: psutil.Process) -> int:
    """Memory of a process and all its descendants, shared pages counted once where the kernel tells."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            info = member.memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total


def measure(command: list[str]) -> dict[str, object]:
    """Run the command; exit code, seconds, peak bytes, and the machine."""
    began, peak = time.monotonic(), 0
    with subprocess.Popen(command) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            sampled = time.monotonic()
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, tree_bytes(tree))
            time.sleep(max(LEAST_PAUSE_S, PAUSES_PER_SAMPLE * (time.monotonic() - sampled)))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "command": " ".join(command),
        "exit_code": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "peak_bytes": peak,
        "machine": {
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "commit": commit.stdout.strip(),
    }


def main(arguments: list[str]) -> int:
    """Measure and write the result."""
    name, dashes, *command = arguments
    if dashes != "--" or not command:
        raise SystemExit("usage: python bench/measure.py NAME -- COMMAND...")
    result = measure(command)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return int(str(result["exit_code"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
