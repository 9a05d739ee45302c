"""The vault of this machine: environment variables, the netrc file and AWS profiles, read where they are needed.

It travels to workers as a name without content: each worker looks into its own environment and home.
"""

from __future__ import annotations

import configparser
import netrc
import os
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UserError
from sources.credentials import Login


@dataclass(frozen=True)
class MachineVault:
    """See `sources.credentials.Vault`."""

    def variable(self, name: str) -> str:
        """An environment variable's value."""
        if not os.environ.get(name):
            raise UserError(f"the environment variable {name} is not set", mend=f"export {name}=...")
        return os.environ[name].strip()

    def login(self, machine: str) -> Login:
        """An entry of the netrc file (``NETRC``, else ``~/.netrc``)."""
        path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        mend = f"add: machine {machine} login ... password ..."
        try:
            found = netrc.netrc(str(path)).authenticators(machine)
        except OSError:
            raise UserError(f"there is no netrc file with an entry for {machine}", mend=mend) from None
        except netrc.NetrcParseError as error:
            raise UserError(f"the netrc file cannot be read at line {error.lineno}", mend="mend that line") from None
        if found is None or not found[2]:
            raise UserError(f"the netrc file has no entry for {machine}", mend=mend)
        return Login(found[0], found[2])

    def profile(self, name: str) -> tuple[str, ...]:
        """Keys of a section of the AWS credentials file (``AWS_SHARED_CREDENTIALS_FILE``, else ``~/.aws``)."""
        path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
            section = parser[name]
            keys = (
                section["aws_access_key_id"],
                section["aws_secret_access_key"],
                section.get("aws_session_token", ""),
            )
        except (KeyError, configparser.Error, UnicodeDecodeError):
            mend = f"aws configure --profile {name}"
            raise UserError(f"the AWS credentials file has no keys for profile {name}", mend=mend) from None
        return keys
