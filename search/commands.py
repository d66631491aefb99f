"""The script `minbert-tune`: every command of the project as a subcommand.

The script works in every folder: unlike `python -m`, it does not search the current folder for modules. The module of a
subcommand is imported only when the subcommand runs or when help shows it.
"""

import sys
from pathlib import Path

if Path(sys.argv[0]).stem == "minbert-tune":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

import importlib
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core
import typer.main

COMMANDS = {
    "launch": "search.launch.__main__",
    "fit": "trainers.fit.__main__",
    "ensemble": "search.ensemble.__main__",
    "report": "search.report.__main__",
    "dashboard": "search.dashboard.__main__",
    "reproduce": "search.reproduce.__main__",
    "finish": "search.finish.__main__",
}
"""Subcommand -> the module with its options."""


class Commands(typer.core.TyperGroup):
    """The subcommands. The module of a subcommand is imported when the subcommand is used."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.commands = dict.fromkeys(COMMANDS)  # pyright: ignore  lists and suggestions use the names only

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a subcommand; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name]
        command = typer.main.get_command(importlib.import_module(module).app)
        typed = f"python -m {module.removesuffix('.__main__')} "
        command.epilog = (command.epilog or "").replace(typed, f"minbert-tune {cmd_name} ")
        return command


app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"minbert-tune {version('minbert-tune')}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Search for the hyperparameters of multitask BERT fine-tuning, and build an ensemble of the best trials."""
