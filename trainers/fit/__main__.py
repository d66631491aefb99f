"""Run `python -m trainers.fit`: train one config, without Ray."""

if __name__ == "__main__":  # first: the imports below take a second
    from trainers.interruption import leave_quietly

    leave_quietly()

from pathlib import Path
from typing import Annotated

import typer

from trainers.fit.request import Request
from trainers.start import LOADING, announce, started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m trainers.fit plain --rows 64 --set stages.0.rounds=2")
def main(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="The config to train: the name of a recipe such as smart, NAME/TASK for one training of a group "
            "(python -m search.reproduce --list shows all names), or the path of a trial's config.json.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="The data: sample (generated sentences), hub (SST-5, QQP and STS-B from the Hugging Face hub), or a "
            "directory with the course's files or a tasks.json.",
        ),
    ] = "sample",
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train on N rows of each task, a random sample stratified by label; by default on all rows.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="The pretrained encoder: minilm, minilm:N for its first N layers, a Hugging Face hub id such as "
            "bert-base-uncased, or a directory; by default the recipe's.",
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of the config, such as stages.0.passes=2. Repeat the option for more fields.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The directory of the run; by default runs/fit/RECIPE-TIME, with the time in UTC."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The seed of the training; by default the recipe's.")
    ] = None,
    dev_rows: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Score each round on at most N dev rows of each task; the default is 1,200."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after an interruption.")] = False,
) -> None:
    """Train one config in a directory of its own, and print the metrics of each round."""
    with started("trainers.fit"):
        announce(LOADING)
        from trainers.fit.run_fit import run_fit  # here, because it imports torch
    run_fit(Request(recipe, data, rows, encoder, values or [], out, seed, dev_rows, resume))


if __name__ == "__main__":
    app()
