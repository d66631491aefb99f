"""The command that chooses a run's ensemble again."""

from typing import Annotated

import typer

from search import options
from search.ensemble.build import NO_SOUP, build
from search.ensemble.choose import DEFAULT
from search.ensemble.soup import SOUPS
from search.runs.lock import locked
from search.runs.run import Run
from search.selection.strategies import STRATEGIES
from trainers.command_line import command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.ensemble first --strategy greedy")
def main(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names under --storage, paths or URIs.")],
    strategy: Annotated[str, typer.Option(help=f"How members are chosen: {', '.join(STRATEGIES)}.")] = DEFAULT,
    soup: Annotated[
        str, typer.Option(help=f"How rounds of RUN are averaged into one more candidate: {', '.join(SOUPS)}.")
    ] = NO_SOUP,
    storage: options.Storage = "runs",
) -> None:
    """Choose the members of the first RUN's ensemble again, from the trials of all RUNs; nothing is trained."""
    with command("search.ensemble"):
        opened = [Run.open(name, storage) for name in runs]
        with locked(opened[0].folder):
            build(opened, strategy, soup)


if __name__ == "__main__":
    app()
