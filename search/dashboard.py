"""A run's study -> optuna-dashboard on this machine, read-only: as shipped it deletes studies on request."""

from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
import optuna_dashboard
import typer
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from model.errors import InputError
from search import options
from search.runs.objectives import directions
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import HIDDEN, STUDY, Run
from trainers.command_line import command

HOST = "127.0.0.1"
READING = ("GET", "HEAD")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.dashboard first")
def main(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A name under --storage, a path or a URI.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    storage: options.Storage = "runs",
) -> None:
    """Serve a view of RUN until Ctrl-C, live while it is searched.

    A run on an object store, or whose study's URL has a password, is shown as it was when the command was started.
    """
    with command("search.dashboard"):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with serve(Run.open(run, storage), port) as server:
            print(f"http://{HOST}:{server.server_port}/ shows {run}; Ctrl-C ends it.", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:  # the usual way to end this command: nothing to report
                raise SystemExit(130) from None


def serve(run: Run, port: int) -> WSGIServer:
    """Return a server, already listening on `port`, of the run's study.

    Raises:
        InputError: the port is taken.
    """
    try:
        return make_server(HOST, port, read_only(optuna_dashboard.wsgi(study_storage(run))), _Server, _Quiet)
    except OSError as error:
        raise InputError(f"--port {port}: {error.strerror}. Pass another, or leave it out for a free one.") from error


def study_storage(run: Run) -> BaseStorage:
    """Open the study for reading beside the search that writes it; without one it is rebuilt from the trials' files."""
    url = run.search["study"]
    if url and HIDDEN not in url:
        return optuna.storages.get_storage(url)
    if run.folder.local and run.folder.exists(STUDY):
        return JournalStorage(JournalFileBackend(str(run.folder.local / STUDY)))
    storage = InMemoryStorage()
    directed = directions(run.objectives)
    rebuild_study(run, optuna.create_study(storage=storage, study_name=run.folder.name, directions=directed))
    return storage


def read_only(application: WSGIApplication) -> WSGIApplication:
    """Wrap an application so that whatever may change something is refused with 405."""

    def refuse_writing(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in READING:
            return application(environment, start_response)
        start_response("405 Method Not Allowed", [("Allow", ", ".join(READING)), ("Content-Type", "text/plain")])
        return [b"This view is read-only.\n"]

    return refuse_writing


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread: browsers open some that they do not use, and others would wait for them."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *args: Any) -> None:
        """Drop the line."""


if __name__ == "__main__":
    app()
