"""The commands of texts: what they would cost, and the paid-answer ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from schemas.errors import UserError

LedgerOption = Annotated[
    str | None, typer.Option("--ledger", help="A file or s3:// address; the site's by default.", show_default=False)
]


def add_texts(app: typer.Typer, out: Console) -> None:
    """Put the commands into the application; what they print goes to ``out``."""

    @app.command()
    def caption(
        recipe: Annotated[
            Path, typer.Argument(help="A recipe (.yaml), or the name of a shipped one.", show_default=False)
        ],
        to: Annotated[str, typer.Option("--out", help="Root of the dataset, as for build.", show_default=False)],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what texts would cost; send nothing.")] = False,
        show: Annotated[int, typer.Option("--show", min=0, help="Print so many prompts.")] = 0,
    ) -> None:
        """Say what the texts of a recipe's next build would cost, chip by chip, and what a model would be told."""
        from terraweft.texts import plan_texts

        if not dry_run:
            raise UserError("texts are written by the build", where="caption", mend="terraweft build, or add --dry-run")
        plan_texts(recipe, to, show, out)

    ledger_app = typer.Typer(no_args_is_help=True, help="The paid-answer ledger: what was asked, and what it cost.")
    app.add_typer(ledger_app, name="ledger")

    @ledger_app.command("totals")
    def ledger_totals(
        ledger: LedgerOption = None,
        by: Annotated[str, typer.Option("--by", help="model, day, kind (of call) or run.")] = "model",
    ) -> None:
        """Attempts, tokens and cost."""
        from terraweft.texts import show_totals

        show_totals(ledger, by, out)

    @ledger_app.command("doubts")
    def ledger_doubts(ledger: LedgerOption = None) -> None:
        """Calls that were sent and never answered, at their worst price."""
        from terraweft.texts import show_doubts

        show_doubts(ledger, out)

    @ledger_app.command("export")
    def ledger_export(
        to: Annotated[Path, typer.Argument(help="A .parquet or .jsonl file.", show_default=False)],
        ledger: LedgerOption = None,
        bodies: Annotated[bool, typer.Option("--bodies", help="With the raw answers.")] = False,
    ) -> None:
        """Every attempt as a row."""
        from terraweft.texts import export_ledger

        export_ledger(ledger, to, bodies, out)
