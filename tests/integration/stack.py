"""The services of docker-compose.yml without an engine: its own commands, settings, order and health checks.

Every service is a process in one network namespace, where ports are free and the names of the services lead to
loopback. Volumes and configs become folders; what an image brings is found through PATH. PostgreSQL alone is set up
here as its image's entry point sets it up. Needs root, PostgreSQL with PostGIS, nginx and the STAC server.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PATIENCE_S = 180.0
REFERENCE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(value: Any, known: Mapping[str, str]) -> Any:
    """A document with ``${NAME}``, ``${NAME:-else}`` and ``${NAME:?message}`` filled in, as compose does.

    Raises:
        KeyError: with the message, where a variable that must be set is not.
    """
    if isinstance(value, dict):
        return {key: interpolated(one, known) for key, one in value.items()}
    if isinstance(value, list):
        return [interpolated(one, known) for one in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if known.get(name):
            return known[name]
        if kind == "?":
            raise KeyError(f"{name}: {text}")
        return text or ""

    return REFERENCE.sub(fill, value)


def env_file(path: Path) -> dict[str, str]:
    """Variables of a ``.env`` file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class Stack:
    """The running services.

    Args:
        folder: for volumes, configs and logs.
        variables: what compose would find in ``.env`` and the shell.
        postgres: folder of PostgreSQL's programs.
        stac: interpreter of the STAC server's environment.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str], postgres: Path, stac: Path) -> None:
        self.folder, self.postgres = folder, postgres
        self.variables = dict(variables)
        document = interpolated(yaml.safe_load(COMPOSE.read_text()), variables)
        self.services: dict[str, dict[str, Any]] = document["services"]
        self.configs: dict[str, dict[str, str]] = document["configs"]
        own = Path(sys.executable).parent
        self.paths = {"terraweft": own, "terraweft-stac": stac.parent, "terraweft-s3": own}
        self.running: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stack:
        (self.folder / "log").mkdir(parents=True)
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost " + " ".join(self.services) + "\n")
        command = ["unshare", "--net", "--mount", "--kill-child", "--fork", "sleep", "infinity"]
        self.holder = subprocess.Popen(command, start_new_session=True)
        self._await("the namespace", lambda: self._inside() is not None)
        self.run(["ip", "link", "set", "lo", "up"])
        self.run(["mount", "--bind", hosts, "/etc/hosts"])
        try:
            for name in self.order():
                self._start_when_due(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *given: object) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)
        if self.holder is not None:
            os.killpg(self.holder.pid, signal.SIGKILL)
            self.holder.wait()

    def order(self) -> list[str]:
        """Services, each behind those that it depends on."""
        found: list[str] = []

        def visit(name: str) -> None:
            for needed in self.services[name].get("depends_on", {}):
                visit(needed)
            if name not in found:
                found.append(name)

        for name in self.services:
            visit(name)
        return found

    def run(self, command: Sequence[object], service: str | None = None, check: bool = True) -> str:
        """Run a command among the services, with the environment of one of them; what it printed."""
        done = subprocess.run(
            [*self._enter(), *map(str, command)],
            env=self.environment(service),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        if check and done.returncode:
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self, name: str) -> None:
        """Start a service and wait until it is healthy, or has done its work."""
        service = self.services[name]
        if name == "postgres":
            self._prepare_postgres(service)
        command = self._command(name, service)
        copies = int(service.get("deploy", {}).get("replicas", 1))
        self.running[name] = [self._spawn(name, command) for _ in range(copies)]
        if service.get("restart") == "no":
            code = self.running[name][0].wait(PATIENCE_S)
            if code:
                raise RuntimeError(f"{name} ended with {code}:\n{self.log(name)}")
        elif "healthcheck" in service:
            self._await(name, lambda: self._is_healthy(name))

    def stop(self, name: str, how: int = signal.SIGTERM) -> None:
        """End a service's processes."""
        for process in self.running.pop(name, []):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self, name: str) -> str:
        """The end of what a service printed."""
        return (self.folder / "log" / f"{name}.log").read_text(errors="replace")[-4000:]

    def place(self, path: str) -> str:
        """A path in a container, or a text with such paths, as it is here."""
        for inside, here in (("/var/lib/postgresql/data", "database"), ("/data", "data"), ("/etc/terraweft", "etc")):
            path = re.sub(rf"(?<![\w/:]){re.escape(inside)}\b", str(self.folder / here), path)
        site = self.variables.get("TERRAWEFT_SITE", str(ROOT / "recipes" / "regions"))
        return re.sub(r"(?<![\w/:])/site\b", site, path)

    def environment(self, service: str | None) -> dict[str, str]:
        """What a service's processes find: its settings, and what this machine needs to run them."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PYTHONPATH") if key in os.environ}
        if service is None:
            return kept
        image = str(self.services[service]["image"]).partition(":")[0]
        own = [str(self.paths[image])] if image in self.paths else []
        path = os.pathsep.join([*own, str(self.postgres), "/usr/sbin", kept.get("PATH", os.defpath)])
        settings = {key: self.place(str(value)) for key, value in self.services[service].get("environment", {}).items()}
        if image == "terraweft-stac":
            kept.pop("PYTHONPATH", None)
        return {**kept, **settings, "PATH": path}

    def _start_when_due(self, name: str) -> None:
        self._write_configs(name)
        self.start(name)

    def _write_configs(self, name: str) -> None:
        for entry in self.services[name].get("configs", []):
            target = Path(self.place(entry["target"]).replace("/docker-entrypoint-initdb.d", str(self.folder / "init")))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.place(self.configs[entry["source"]]["content"]))
        for folder in ("data", "data/work", "data/metrics", "data/ledger"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)

    def _command(self, name: str, service: Mapping[str, Any]) -> list[str]:
        command = [self.place(str(part)) for part in service["command"]]
        if name == "postgres":
            command[1:1] = ["-D", str(self.folder / "database"), "-k", str(self.folder), "-c", "fsync=off"]
        return command

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if name == "postgres" else []
        with (self.folder / "log" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*self._enter(), *as_user, *command],
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _prepare_postgres(self, service: Mapping[str, Any]) -> None:
        """What the image's entry point does over an empty volume: a cluster, a user, a database, the scripts."""
        data, settings = self.folder / "database", service["environment"]
        if data.exists():
            return
        owner = pwd.getpwnam("postgres")
        data.mkdir()
        secret = self.folder / "pw"
        secret.write_text(settings["POSTGRES_PASSWORD"])
        for path in (self.folder, data, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        name = settings["POSTGRES_USER"]
        secured = ["--auth=scram-sha-256", "--pwfile", secret]
        self.run([*user, self.postgres / "initdb", "-D", data, "-U", name, *secured, "-E", "UTF8"])
        serve = [*user, self.postgres / "pg_ctl", "-D", data, "-w", "-o", f"-k {self.folder} -c listen_addresses=''"]
        subprocess.run(list(map(str, [*self._enter(), *serve, "-l", data / "init.log", "start"])), check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        try:
            ask = ["env", f"PGPASSWORD={settings['POSTGRES_PASSWORD']}", "psql", "-h", self.folder, "-U", name]
            self.run([*ask, "-d", "postgres", "-c", f"CREATE DATABASE {settings['POSTGRES_DB']}"])
            self.run([*ask, "-d", settings["POSTGRES_DB"], "-c", "CREATE EXTENSION postgis"])
            for script in sorted((self.folder / "init").glob("*.sql")):
                self.run([*ask, "-d", settings["POSTGRES_DB"], "-f", script])
        finally:
            self.run([*user, self.postgres / "pg_ctl", "-D", data, "-w", "stop"])

    def _is_healthy(self, name: str) -> bool:
        for process in self.running[name]:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
        kind, *test = self.services[name]["healthcheck"]["test"]
        command = ["sh", "-c", test[0]] if kind == "CMD-SHELL" else list(test)
        done = subprocess.run(
            [*self._enter(), *command], env=self.environment(name), check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode == 0

    def _inside(self) -> int | None:
        """Process id of the sleeper that holds the namespaces."""
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children") if self.holder else Path()
        with suppress(OSError, ValueError, IndexError):
            return int(children.read_text().split()[0])
        return None

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._inside()), "--net", "--mount", f"--wd={self.folder}", "--"]

    def _await(self, what: str, is_done: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} was not ready in {PATIENCE_S:.0f} s")
            time.sleep(0.5)


@contextmanager
def stack(folder: Path, variables: Mapping[str, str], postgres: Path, stac: Path) -> Iterator[Stack]:
    """All services, up and healthy; the folder is removed."""
    try:
        with Stack(folder, variables, postgres, stac) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
