"""The commands of those who run a site: deployments of its regions, back-fills, freshness."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

TableArgument = Annotated[Path, typer.Argument(help="A region table (.yaml).", show_default=False)]
RegionsArgument = Annotated[
    list[str] | None, typer.Argument(help="Names of regions; all where none is given.", show_default=False)
]


def add_commands(app: typer.Typer, out: Console) -> None:
    """Put the commands into the application; what they print goes to ``out``."""

    @app.command()
    def deploy(
        table: TableArgument,
        regions: RegionsArgument = None,
        prune: Annotated[
            bool, typer.Option("--prune", help="Delete deployments of regions that are not in the table any more.")
        ] = False,
        to_file: Annotated[
            Path | None, typer.Option("--prefect-yaml", help="Write a prefect.yaml instead of deploying.")
        ] = None,
    ) -> None:
        """Make a Prefect deployment of every region: its schedule, limits and tags."""
        from terraweft.operate import run_deploy

        run_deploy(table, tuple(regions or ()), prune, to_file, out)

    @app.command()
    def pause(table: TableArgument, regions: RegionsArgument = None) -> None:
        """Let the schedules of regions rest; what runs goes on."""
        from terraweft.operate import run_pause

        run_pause(table, tuple(regions or ()), True, out)

    @app.command()
    def resume(table: TableArgument, regions: RegionsArgument = None) -> None:
        """Let the schedules of regions go on."""
        from terraweft.operate import run_pause

        run_pause(table, tuple(regions or ()), False, out)

    @app.command()
    def backfill(
        table: TableArgument,
        region: Annotated[str, typer.Argument(help="Name of a region.", show_default=False)],
        since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.", show_default=False)],
        until: Annotated[
            datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; yesterday by default.")
        ] = None,
    ) -> None:
        """Schedule the refreshes that a region missed, each as of its own day, the oldest first."""
        from terraweft.operate import run_backfill

        run_backfill(table, region, since.date(), until.date() if until else None, out)

    @app.command()
    def freshness(
        table: TableArgument,
        regions: RegionsArgument = None,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of a table.")] = False,
        tell: Annotated[
            bool, typer.Option("--notify", help="Tell whom the table names of stale regions and untold runs.")
        ] = False,
    ) -> None:
        """Say how old every region is beside its promise. Exit 1 where one is stale, unreadable or was never made."""
        from terraweft.operate import run_freshness

        if not run_freshness(table, tuple(regions or ()), as_json, tell, out):
            raise typer.Exit(1)
