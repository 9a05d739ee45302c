"""Commands in processes of their own that need not import everything again: `Forker`, and the cluster that they share.

A process imports what a build imports, once, and forks for every command; the fork gets the command's own environment,
working folder and streams, runs the command line from its entry point, and ends as an interpreter ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from flows.collector import collect_seldom

PRELOADED = ("flows.build", "flows.site", "sources.sensors", "sources.labels_raster", "shards.check", "reports.html")
"""Not `terraweft.cli`: what it finds out of a terminal, it finds out when it is imported."""
FIXED_AT_START = ("PYTHON", "PREFECT", "DASK", "OMP", "OPENBLAS", "GDAL", "PROJ", "LC_", "LANG")
"""Variables that are read when an interpreter or a library starts: a command that sets one is not forked."""
TIMEOUT_S = 500


class Forked:
    """A command that runs, as its starter sees it.

    Args:
        call: what the forking process tells its process id through, then its exit code.
        streams: files of its standard output and error.
        log: of the forking process.
    """

    def __init__(self, call: socket.socket, streams: tuple[IO[str], IO[str]], log: Path) -> None:
        self._call, self._streams, self._log = call, streams, log
        self._code: int | None = None
        self.pid = self._number()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *given: object) -> None:
        for one in (self._call, *self._streams):
            one.close()

    def wait(self, timeout_s: float) -> int:
        """Its exit code; negative where a signal ended it.

        Raises:
            TimeoutError: it still runs.
        """
        if self._code is None:
            self._call.settimeout(timeout_s)
            self._code = self._number()
        return self._code

    def printed(self) -> tuple[str, str]:
        """What stands on its standard output and error."""
        for stream in self._streams:
            stream.seek(0)
        return self._streams[0].read(), self._streams[1].read()

    def _number(self) -> int:
        text = b""
        while not text.endswith(b"\n"):
            if not (part := self._call.recv(1)):
                raise RuntimeError(f"the forking process ended: {self._log.read_text()[-2000:]}")
            text += part
        return int(text)


class Forker:
    """The process that forks, as seen by those who want commands run.

    Args:
        environment: of the process; what a command is given may differ but for `FIXED_AT_START`.
        folder: for its socket and its log.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = dict(environment)
        self._path = str(folder / "forker")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._path)
        listener.listen(8)
        with listener, (folder / "forker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.integration.forked import serve; serve()", str(listener.fileno())],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environment, pass_fds=[listener.fileno()],
            )  # fmt: skip

    def can_run(self, variables: Mapping[str, str]) -> bool:
        """Whether a command with these variables may be forked."""
        return not any(name.startswith(FIXED_AT_START) for name in variables)

    def run(self, arguments: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the command line with some arguments to its end."""
        with self.begin(arguments, variables) as command:
            code = command.wait(TIMEOUT_S)
            return subprocess.CompletedProcess(list(arguments), code, *command.printed())

    def begin(self, arguments: Sequence[str], variables: Mapping[str, str]) -> Forked:
        """Start the command line with some arguments.

        Raises:
            RuntimeError: the forking process ended.
        """
        out, err, call = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+"), socket.socket(socket.AF_UNIX)  # noqa: SIM115
        call.settimeout(TIMEOUT_S)
        call.connect(self._path)
        wanted = {
            "arguments": list(arguments),
            "environment": {**self._environment, **variables},
            "folder": os.getcwd(),
        }
        socket.send_fds(call, [b"x"], [out.fileno(), err.fileno()])
        call.sendall(json.dumps(wanted).encode())
        call.shutdown(socket.SHUT_WR)
        return Forked(call, (out, err), Path(self._path + ".log"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def serve() -> None:
    """Fork for every call, until standard input ends."""
    collect_seldom()
    for name in PRELOADED:
        __import__(name)
    gc.freeze()
    listener = socket.socket(fileno=int(sys.argv[1]))
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is not listener:
                    _report(key.fileobj, key.data)
                    ready.unregister(key.fileobj)
                    os.close(int(key.fd))
                    continue
                call, _ = listener.accept()
                pid = os.fork()
                if pid == 0:
                    ready.close()
                    listener.close()
                    sys.exit(_command(call))
                call.sendall(b"%d\n" % pid)
                ready.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, call))


def _report(_: Any, data: tuple[int, socket.socket]) -> None:
    pid, call = data
    with call, contextlib.suppress(OSError):
        call.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _command(call: socket.socket) -> int:
    """Become the command that a call asks for."""
    with call:
        _, fds, _, _ = socket.recv_fds(call, 1, 2)
        text = b""
        while part := call.recv(1 << 16):
            text += part
    wanted = json.loads(text)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, fd in enumerate(fds, start=1):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["terraweft", *wanted["arguments"]]
    try:
        from terraweft.cli import main

        main(wanted["arguments"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def dask_cluster(environment: Mapping[str, str], folder: Path, workers: int = 2) -> Iterator[str]:
    """Address of a Dask cluster as a build makes one, for builds that are told to use it (``--dask``)."""
    program = (
        "import sys; from pathlib import Path; from flows.cluster import dask_client\n"
        f"with dask_client(None, {workers}, Path({str(folder)!r})) as client:\n"
        "    print(client.scheduler.address, flush=True); sys.stdin.read()"
    )
    idle = {"DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "1s"}  # not ten times a second, to the session's end
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**environment, **idle},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        address = process.stdout.readline().strip()
        try:
            yield address
        finally:
            process.stdin.close()
            process.wait(60)
