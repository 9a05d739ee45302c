"""A time of day that is set back under the programs that run by it (`stepped_clock.c`)."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SteppedClock:
    """The clock.

    Attributes:
        library: what is preloaded.
        file: where its step stands.
    """

    library: Path
    file: Path

    @property
    def variables(self) -> dict[str, str]:
        """What a program runs by this clock with."""
        return {"LD_PRELOAD": str(self.library), "TERRAWEFT_CLOCK_STEP": str(self.file)}

    def set_back(self, seconds: float) -> None:
        """So far behind the machine's time, for all programs, in one write of eight bytes."""
        with self.file.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", -int(seconds * 1e9)))


def stepped_clock_in(folder: Path, cc: Path) -> SteppedClock:
    """The clock, compiled into a folder, at the machine's time."""
    clock = SteppedClock(folder / "stepped_clock.so", folder / "step")
    source = Path(__file__).with_suffix(".c")
    subprocess.run([cc, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", clock.library, source], check=True)
    clock.file.write_bytes(bytes(8))
    return clock
