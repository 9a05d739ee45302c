"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[
    Path,
    typer.Argument(
        help="A recipe (.yaml), or the name of a shipped one: sandbox, real-wervik, ...", show_default=False
    ),
]
DatasetArgument = Annotated[str, typer.Argument(help="A dataset: folder or s3:// address.", show_default=False)]
VersionOption = Annotated[str | None, typer.Option("--version", help="A version instead of the current one.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes; one per core by default.")
]
