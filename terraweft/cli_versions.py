"""The commands of a dataset's versions: listed, compared, gone back to, freed of what none lists, packed anew."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from terraweft.cli_arguments import DatasetArgument


def add_versions(app: typer.Typer, out: Console) -> None:
    """Put the commands into the application; what they print goes to ``out``."""

    @app.command()
    def versions(dataset: DatasetArgument) -> None:
        """List the versions of a dataset, and what each of them changed."""
        from terraweft.versions import show_versions

        show_versions(dataset, out)

    @app.command()
    def diff(
        dataset: DatasetArgument,
        before: Annotated[str, typer.Argument(help="A version.", show_default=False)],
        after: Annotated[str | None, typer.Argument(help="Another; the current one by default.")] = None,
    ) -> None:
        """Say what differs between two versions, chip by chip."""
        from terraweft.versions import show_diff

        show_diff(dataset, before, after, out)

    @app.command()
    def rollback(
        dataset: DatasetArgument,
        version: Annotated[str, typer.Argument(help="The version to go back to.", show_default=False)],
    ) -> None:
        """Make another version the current one. Deletes nothing."""
        from terraweft.versions import run_rollback

        run_rollback(dataset, version, out)

    @app.command()
    def gc(
        dataset: DatasetArgument,
        keep: Annotated[
            int | None, typer.Option(help="Forget all but so many of the newest versions (and the current one).")
        ] = None,
        work: Annotated[bool, typer.Option("--work", help="Remove the fragments of runs, too.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    ) -> None:
        """Remove what no version lists: torn shards, unfinished versions, chunks without a tag. Never a ledger."""
        from terraweft.versions import run_gc

        run_gc(dataset, keep, work, dry_run, out)

    @app.command()
    def repack(
        dataset: DatasetArgument,
        buckets: Annotated[
            str | None, typer.Option("--buckets", help="Number of shards per split: 8, or train=8,val=2.")
        ] = None,
        shard_bytes: Annotated[
            int | None, typer.Option("--shard-bytes", min=1, help="About so many bytes in each.")
        ] = None,
        shard_chips: Annotated[
            int | None, typer.Option("--shard-chips", min=1, help="About so many chips in each.")
        ] = None,
    ) -> None:
        """Write the same chips into another number of shards, as the next version."""
        from terraweft.versions import run_repack

        run_repack(dataset, buckets, shard_bytes, shard_chips, out)
