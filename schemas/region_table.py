"""The region table: which regions are refreshed when, from which recipe, into which dataset, how fresh they shall be.

One YAML file beside its recipes; the outlines may stand in a GeoJSON file whose features carry the region's name as
``id``. `flows.regions` makes one deployment of each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from schemas.recipe import never_filled
from schemas.recipe_base import NAME, LonLatBox, Model, Name
from schemas.recipe_places import check_box

VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
FIELD = re.compile(r"(?<!\$)\{([^{}]*)\}")
"""A field of a root's template; ``${...}`` is a variable."""
CRON_FIELDS = 5


@cache
def _zones() -> frozenset[str]:
    """IANA names of this machine, looked up once: Python opens some hundred files to list them."""
    return frozenset(available_timezones())


class Schedule(Model):
    """When a region is refreshed."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: str = "UTC"
    """IANA name; clocks that are put forward and back are followed."""

    @model_validator(mode="after")
    def _is_known(self) -> Schedule:
        if len(self.cron.split()) != CRON_FIELDS:
            raise ValueError("cron has five fields: minute, hour, day of month, month, day of week")
        if self.timezone not in _zones():
            raise ValueError(f"timezone {self.timezone!r} is not an IANA name such as Europe/Berlin")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)


class Notify(Model):
    """Who hears of a refresh. The addresses are secrets: the table names environment variables of the worker."""

    when: tuple[Literal["published", "failed", "stale"], ...] = ("failed", "stale")
    """Of what."""
    webhook_env: str | None = None
    """Variable with an ``https://`` address that takes a JSON document by POST."""
    mail_env: str | None = None
    """Variable with ``smtp[s]://user:password@host:port/?from=a@b&to=c@d``."""

    @model_validator(mode="after")
    def _by_reference(self) -> Notify:
        for name in (self.webhook_env, self.mail_env):
            if name is not None and not VARIABLE_NAME.fullmatch(name):
                raise ValueError("webhook_env and mail_env are names of environment variables, not addresses")
        return self


class Settings(Model):
    """What a row may say for itself, and the table for all of its rows."""

    recipe: str | None = None
    """A recipe beside the table, or the name of a shipped one."""
    root: str | None = None
    """Where the dataset lies; ``{region}`` is the row's name, ``${TERRAWEFT_...}`` a variable of the worker."""
    schedule: Schedule | None = None
    """When; a row without one is deployed, and runs when somebody starts it."""
    collision: Literal["enqueue", "cancel_new"] = "enqueue"
    """What becomes of a run that is due while the region's last one is not through: it waits, or is cancelled."""
    fresh_within_days: PositiveFloat | None = None
    """The promise: so many days after a refresh the region is called stale."""
    hours_at_most: PositiveFloat | None = None
    """How long a refresh may take: one that hangs gives signs of life, too, and holds its place of the pool."""
    workers: PositiveInt = 2
    """Worker processes where no cluster is named."""
    dask: str | None = None
    """Address of a Dask scheduler; ``${TERRAWEFT_...}`` is a variable of the worker."""
    tags: tuple[Name, ...] = ()
    """Further tags of the runs."""
    notify: Notify = Notify()
    """Who hears of it."""


class Row(Settings):
    """A region."""

    name: Name
    """Name of the region, the deployment and the dataset."""
    bbox: LonLatBox | None = None
    """West, south, east, north in degrees; where absent, the feature of the table's ``geojson`` with this ``id``, or
    the recipe's own regions."""
    paused: bool = False
    """Deployed, but not by its schedule. Where the row says nothing, ``terraweft pause`` and ``resume`` decide."""

    @model_validator(mode="after")
    def _has_a_place(self) -> Row:
        check_box(self.bbox)
        return self


class RegionTable(Settings):
    """All regions of a site."""

    format: Literal[1]
    """Format of the table."""
    name: Name
    """Name of the site; stands before the names of its datasets."""
    geojson: str | None = None
    """A GeoJSON file beside the table; its features have the properties ``id`` and, where they like, others."""
    pool: Name = "terraweft"
    """Prefect work pool whose workers run the refreshes."""
    runs_at_once: PositiveInt = Field(default=2, le=1000)
    """Refreshes that run at the same time in the pool: of tables that share one, the last one deployed decides."""
    regions: tuple[Row, ...]
    """The rows."""

    @model_validator(mode="after")
    def _complete(self) -> RegionTable:
        names = [row.name for row in self.regions]
        if not names:
            raise ValueError("regions is empty: give at least one row")
        for name in names:
            if not NAME.fullmatch(self.dataset_of(name)):
                raise ValueError(f"the dataset {self.dataset_of(name)!r} is named with more than 64 characters")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"region {twice[0]!r} stands twice")
        for row in self.regions:
            whole = self.row(row.name)
            for key in ("recipe", "root"):
                if getattr(whole, key) is None:
                    raise ValueError(f"region {row.name!r} has no {key}: give one to it or to the table")
        for name in names:
            odd = [found for found in FIELD.findall(self.row(name).root or "") if found != "region"]
            if odd:
                raise ValueError(f"root holds {{{odd[0]}}}, which is not filled in: write {{region}}")
            for key in ("root", "dask"):
                if never := never_filled(getattr(self.row(name), key) or ""):
                    raise ValueError(f"{key} holds {never}, which is not filled in: variables are ${{TERRAWEFT_...}}")
        roots = [self.root_of(row.name) for row in self.regions]
        if shared := sorted({root for root in roots if roots.count(root) > 1}):
            raise ValueError(f"two regions share the root {shared[0]!r}: put {{region}} into it")
        return self

    def row(self, name: str) -> Row:
        """A row with what the table says for all, where it says nothing itself.

        Raises:
            KeyError: there is no such region.
        """
        row = next((row for row in self.regions if row.name == name), None)
        if row is None:
            raise KeyError(name)
        shared = {key: getattr(self, key) for key in Settings.model_fields if key not in row.model_fields_set}
        return row.model_copy(update=shared)

    def dataset_of(self, name: str) -> str:
        """Name of a region's dataset, and of its deployment."""
        return f"{self.name}-{name}"

    def tags_of(self, name: str) -> list[str]:
        """Tags of a region's runs in Prefect."""
        return sorted({f"site:{self.name}", f"region:{name}", *self.row(name).tags})

    def root_of(self, name: str) -> str:
        """Where the dataset of a region lies; variables are not filled in yet."""
        return (self.row(name).root or "").replace("{region}", name)

    def names(self, wanted: Iterable[str] = ()) -> tuple[str, ...]:
        """Names of the wanted regions in the table's order; all where none is named.

        Raises:
            KeyError: there is no such region.
        """
        known = [row.name for row in self.regions]
        for name in wanted:
            if name not in known:
                raise KeyError(name)
        return tuple(name for name in known if not wanted or name in set(wanted))
