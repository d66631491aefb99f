"""Run `python -m search.dashboard`: serve a dashboard of a run."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

from typing import Annotated

import typer

from search import options
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=options.Command, epilog="Example: python -m search.dashboard first")
def main(
    run: options.Run,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="The port on 127.0.0.1; 0 uses a free port."),
    ] = 0,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            callback=options.from_environment,
            help="Show the studies in the database at this URL, or in the one that the environment variable NAME "
            "names: env:NAME. Without it no database is opened.",
        ),
    ] = None,
    storage: options.Storage = "runs",
) -> None:
    """Serve a read-only dashboard of RUN until Ctrl-C. It is updated while the search runs.

    If RUN is on an object store, or its study is in a database and --study is missing, the dashboard shows the state of
    RUN's files at its start.
    """
    with started("search.dashboard"):
        from search.dashboard.server import show  # here, because it imports Optuna, pandas and SQLAlchemy

        show(run, storage, port, study)


if __name__ == "__main__":
    app()
