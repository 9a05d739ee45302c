"""`terraweft export`, as typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from terraweft.cli_arguments import DatasetArgument, VersionOption


def add_export(app: typer.Typer, out: Console) -> None:
    """Put ``export`` into the application; what it prints goes to ``out``."""

    @app.command()
    def export(
        dataset: DatasetArgument,
        form: Annotated[
            str,
            typer.Option(
                "--to",
                help="chatearthnet, geotiff, hdf5, huggingface, llava, majortom, refcoco, rsteller, rsvlm-qa, "
                "skyscript, ssl4eo, terramesh, texts, zarr, or an installed form.",
                show_default=False,
            ),
        ],
        to: Annotated[Path, typer.Option("--out", help="The folder that shall appear.", show_default=False)],
        modality: Annotated[
            list[str] | None, typer.Option("--modality", help="A modality or group; may be given again.")
        ] = None,
        split: Annotated[str | None, typer.Option("--split", help="One split.")] = None,
        region: Annotated[list[str] | None, typer.Option("--region", help="A region; may be given again.")] = None,
        bbox: Annotated[str | None, typer.Option("--bbox", help="west,south,east,north.")] = None,
        clear: Annotated[
            float | None, typer.Option("--min-clear", help="Chips with a date at least so clear, 0 to 1.")
        ] = None,
        private: Annotated[
            bool, typer.Option("--private", help="Also layers that may not be given on; the export says so.")
        ] = False,
        per_file: Annotated[
            int | None, typer.Option("--samples-per-file", min=1, help="Where a form puts several into a file.")
        ] = None,
        version: VersionOption = None,
    ) -> None:
        """Write a dataset in another published form: with licences, a card and a list of files."""
        from terraweft.export import Conditions, run_export

        conditions = Conditions(split, tuple(region or ()), bbox, clear)
        run_export(dataset, version, to, form, tuple(modality or ()), conditions, private, per_file, out)
