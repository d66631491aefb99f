"""Run `python -m search.report`: write a run's report again."""

if __name__ == "__main__":  # first: the imports below take a second
    from search.start import leave_quietly

    leave_quietly()

import typer

from search import options
from search.start import started

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=options.Command, epilog="Example: python -m search.report first")
def main(run: options.Run, storage: options.Storage = "runs", out: options.Out = None) -> None:
    """Write the report and the table of trials of RUN again, and print the path of the report."""
    with started("search.report"):
        from trainers.start import LOADING, announce  # here, because `started` checks the packages first

        announce(LOADING)
        import optuna  # here, because it takes seconds

        from search.report.page import write  # here, because it imports torch, pandas and plotly
        from search.runs.run import Run, readable_run, write_table  # here, because it imports pandas
        from trainers.folder import Folder  # here, because it imports pyarrow

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with readable_run():
            opened, folder = Run.open(run, storage), Folder.at(out) if out else None
            try:
                write_table(opened, folder)
            finally:  # a table that cannot be written does not prevent the report
                print(*opened.notes, write(opened, folder), sep="\n")


if __name__ == "__main__":
    app()
