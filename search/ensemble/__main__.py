"""Run `python -m search.ensemble`: choose the members of a run's ensemble again."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

from typing import Annotated

import typer

from search import options
from search.choices import DEFAULT_SOUP, DEFAULT_STRATEGY, SOUPS, STRATEGIES, listed
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=options.Command, epilog="Example: python -m search.ensemble first --strategy greedy")
def main(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            callback=options.from_environment,
            help="The runs: names in --storage, paths, URIs or env:NAME. The first run gets the ensemble; members come "
            "from all.",
        ),
    ],
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=options.METHOD, help=f"How to choose members: {listed(STRATEGIES)}."
        ),
    ] = DEFAULT_STRATEGY,
    soup: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.METHOD,
            help="How to average the weights of several rounds of the first run into one more candidate: "
            f"{listed(SOUPS)}.",
        ),
    ] = DEFAULT_SOUP,
    storage: options.Storage = "runs",
    out: options.Out = None,
) -> None:
    """Choose the members of a run's ensemble again, from the trials of one or more runs; train nothing."""
    with started("search.ensemble"):
        from trainers.start import LOADING, announce  # here, because `started` checks the packages first

        announce(LOADING)
        from search.ensemble.build import build  # here, because it imports torch and pandas
        from search.runs.lock import locked  # here, because it imports pyarrow
        from search.runs.run import Run, readable_run  # here, because it imports pandas
        from trainers.command_line import command_on  # here, because `started` checks the packages first
        from trainers.folder import Folder  # here, because it imports pyarrow

        with readable_run():
            opened = [Run.open(name, storage) for name in runs]
            if out:
                build(opened, strategy, soup, out=Folder.at(out))
            else:
                with locked(opened[0].folder):
                    build(opened, strategy, soup)
                print(f"Write the report again with: {command_on('search.report', opened[0].folder.uri)}")


if __name__ == "__main__":
    app()
