"""Serve optuna-dashboard for a run's study, read-only: by itself it lets any visitor delete a study."""

from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
import optuna_dashboard
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from model.errors import InputError
from search.runs.objectives import study_directions
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import PASSWORD_MASK, STUDY, Run

HOST = "127.0.0.1"
READ_METHODS = ("GET", "HEAD")
"""HTTP methods that change nothing."""


def show(name: str, storage: str, port: int) -> None:
    """Serve the dashboard of a run until Ctrl-C; print its address first."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with serve(Run.open(name, storage), port) as server:
        print(f"http://{HOST}:{server.server_port}/ shows {name}. Press Ctrl-C to stop.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # Ctrl-C is the usual end of this command, not an error
            raise SystemExit(130) from None


def serve(run: Run, port: int) -> WSGIServer:
    """Return a server that shows the run's study and already listens on `port`.

    Raises:
        InputError: the port cannot be used.
    """
    try:
        return make_server(HOST, port, read_only(optuna_dashboard.wsgi(study_storage(run))), _Server, _Quiet)
    except OSError as error:
        raise InputError(
            f"--port {port} cannot be used: {error.strerror}. Pass another port, or leave --port out for a free one."
        ) from error


def study_storage(run: Run) -> BaseStorage:
    """Open the storage of a run's study, or rebuild it from the trials' files; a search may be writing to it."""
    url = run.search.study
    if url and PASSWORD_MASK not in url:
        return optuna.storages.get_storage(url)
    if run.folder.local and run.folder.exists(STUDY):
        return JournalStorage(JournalFileBackend(str(run.folder.local / STUDY)))
    storage = InMemoryStorage()
    study = optuna.create_study(
        storage=storage, study_name=run.folder.name, directions=study_directions(run.objectives)
    )
    rebuild_study(run, study)
    return storage


def read_only(application: WSGIApplication) -> WSGIApplication:
    """Wrap a WSGI application so that every request that may change something is answered with status 405."""

    def answer_reads(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in READ_METHODS:
            return application(environment, start_response)
        start_response("405 Method Not Allowed", [("Allow", ", ".join(READ_METHODS)), ("Content-Type", "text/plain")])
        return [b"This dashboard is read-only.\n"]

    return answer_reads


class _Server(ThreadingMixIn, WSGIServer):
    """A server with a thread per connection: browsers open idle connections, which would block all others."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """A request handler that does not log requests."""

    def log_message(self, format: str, *args: Any) -> None:
        """Discard the line."""
