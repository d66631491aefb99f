"""Run `python -m search.report`: write a run's report again."""

from typing import Annotated

import optuna
import typer

from search import options
from search.report.page import write
from search.runs.run import Run, write_table
from trainers.command_line import command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.report first")
def main(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run: its name under --storage, its path or its URI.")],
    storage: options.Storage = "runs",
) -> None:
    """Write the report and the table of trials of RUN again, and print the path of the report."""
    with command("search.report"):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        opened = Run.open(run, storage)
        write_table(opened)
        print(write(opened))


if __name__ == "__main__":
    app()
