"""The command line of a single run: a recipe and data -> a trial's directory, without Ray."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from model.errors import InputError
from model.pretrained import read_pretrained
from trainers.command_line import command
from trainers.config.parsing import read_config, with_values
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder
from trainers.methods.gradient_ratios import remarks
from trainers.recipes.registry import LISTED, configs, recipe
from trainers.recipes.systems import EnsembleOf, Group
from trainers.training.rounds import RoundRow
from trainers.training.step_plan import plan
from trainers.training.training import DEV_ROWS
from trainers.trial import CONFIG, run_trial

ABOUT = "fit.json"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m trainers.fit plain --rows 64 --set stages.0.rounds=2")
def main(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help=f"A system's name, or a trial's config.json; {LISTED}")],
    data: Annotated[str, typer.Option(help="sample, hub, or a directory with the course's files.")] = "sample",
    rows: Annotated[int | None, typer.Option(min=1, help="Training rows of each task, sampled; default all.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm, minilm:LAYERS, a hub id, or a directory; default the recipe's.")
    ] = None,
    values: Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field.")] = [],  # noqa: B006  typer copies it
    out: Annotated[Path | None, typer.Option(help="Default runs/fit/RECIPE-TIME.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default the recipe's.")] = None,
    dev_rows: Annotated[int, typer.Option(min=1, help="Dev rows a task to score rounds on.")] = DEV_ROWS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
) -> None:
    """Train one system, round by round, into a directory of its own."""
    place = str(out or f"runs/fit/{name.replace('/', '-')}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    with command(
        "trainers.fit", resumable=lambda: Folder.at(place).exists(ABOUT), extra=() if out else ("--out", place)
    ):
        given = {field: value for field, value in {"encoder": encoder, "seed": seed}.items() if value is not None}
        config = with_values(_single(name).replace(**given), values)
        folder = Folder.at(place)
        pretrained = read_pretrained(config.encoder)
        directory, notes = prepare(data, pretrained.tokenizer, rows=rows, seed=config.seed, texts=config.texts)
        corpus = Corpus.open(directory)
        _, rounds = plan(config, corpus)  # refused before a directory is taken
        device = "cuda" if torch.cuda.is_available() else "cpu"
        _claim(folder, config, {"fingerprint": corpus.fingerprint, "dev_rows": dev_rows}, resume)
        about = f"Recipe {name} on {device} in {config.precision}, encoder {config.encoder}, data {data}."
        length = f"In all: rounds {len(rounds)}, steps {rounds[-1].stop}, examples {rounds[-1].examples}."
        print(about, *notes, length, sep="\n", flush=True)
        remarked: dict[str, str] = {}
        for row in run_trial(folder, config, corpus, pretrained, device=device, dev_limit=dev_rows):
            found = remarks(row.ratios)
            new = [text for name, text in found.items() if name not in remarked]
            print(_line(row, len(rounds)), *new, sep="\n", flush=True)
            remarked |= found
        print(folder)


def _single(name: str) -> TrainConfig:
    """Return the config of a system that is one training, or the one that a file holds.

    Raises:
        InputError: there is none of that name, or it is several trainings; says which.
    """
    if name.endswith(".json"):
        return read_config(Path(name))
    found = recipe(name)
    if isinstance(found, Group):
        raise InputError(f"Recipe {name} is several trainings. Run one of them: {', '.join(configs(name))}.")
    if isinstance(found, EnsembleOf):
        raise InputError(f"Recipe {name} joins others. Run one of them: {', '.join(found.members)}.")
    return found


def _line(row: RoundRow, rounds: int) -> str:
    """Say what a round came to."""
    metrics = "".join(f" {task} {value:.4f}" for task, value in row.metrics.items())
    score = "not finite" if not row.finite else "not judged" if row.score is None else f"{row.score:.4f}"
    loss = "" if row.loss is None else f" loss {row.loss:.4f}"
    counted = f"round {row.round} of {rounds}"
    return f"{counted}: score {score}{metrics}{loss} ({row.examples} examples, {row.seconds:.1f} s)"


def _claim(folder: Folder, config: TrainConfig, about: dict[str, Any], resume: bool) -> None:
    """Write what a directory is for, or check that it is for the same.

    Raises:
        InputError: it is in use, or for something else.
    """
    if not folder.exists(ABOUT):
        if resume:
            raise InputError(f"There is no run at {folder} to resume. Leave --resume out to start it.")
        folder.write(CONFIG, config.model_dump_json(indent=2))
        folder.write_json(ABOUT, about)
        return
    if not resume:
        raise InputError(f"{folder} holds a run already. Pass --resume to go on, or another --out.")
    same = TrainConfig.model_validate_json(folder.read(CONFIG)) == config
    if not same or folder.read_json(ABOUT) != about:
        raise InputError(f"{folder} was made with another config or data. Repeat its command, or pass another --out.")


if __name__ == "__main__":
    app()
