"""Serve optuna-dashboard for a run's study, read-only: by itself it lets any visitor delete a study."""

import contextlib
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
from search.runs.run import STUDY, Run, readable_run
from search.runs.study import existing_storage
from trainers.urls import shown

HOST = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine in the Host header of a request."""
READ_METHODS = ("GET", "HEAD")
"""HTTP methods that change nothing."""


def show(name: str, storage: str, port: int, study: str | None) -> None:
    """Serve the dashboard of a run until Ctrl-C; print its address first."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with readable_run("Check that the files of the run can be read."):
        run = Run.open(name, storage)
        if run.search.study and not study:
            print(
                f"The study is in the database {run.search.study}. Pass --study URL to show it; without --study the "
                "dashboard shows the run's files as they were at its start.",
                flush=True,
            )
        server = serve(run, port, study)
    with server:
        print(f"http://{HOST}:{server.server_port}/ shows {shown(name)}. Press Ctrl-C to stop.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # Ctrl-C is the usual end of this command, not an error
            raise SystemExit(130) from None


def serve(run: Run, port: int, study: str | None = None) -> WSGIServer:
    """Return a server that shows the run's study and already listens on `port`.

    Args:
        study: the URL of a database that holds the study; None to open files of the run only.

    Raises:
        InputError: the port cannot be used.
        OSError: a file of the run cannot be read.
    """
    application = local_only(read_only(optuna_dashboard.wsgi(study_storage(run, study))))
    try:
        return make_server(HOST, port, application, _Server, _Quiet)
    except OSError as error:
        raise InputError(
            f"--port {port} cannot be used: {error.strerror}. Pass another port, or leave --port out for a free one."
        ) from error


def study_storage(run: Run, url: str | None) -> BaseStorage:
    """Open the storage of a run's study, or rebuild it from the trials' files; a search may be writing to it.

    The database that `search.json` names is not opened: whoever wrote the file may have chosen it.
    """
    if url:
        return existing_storage(url, "--study")
    if run.folder.local and run.folder.exists(STUDY):
        with contextlib.suppress(Exception):  # a damaged journal raises many classes; the trials' files are intact
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


def local_only(application: WSGIApplication) -> WSGIApplication:
    """Wrap a WSGI application so that requests to other names than this machine's are answered with status 421.

    A page of a stranger can give its own name the address 127.0.0.1, and a browser would let it read the answers.
    """

    def answer_local(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name, port = environment.get("HTTP_HOST", ""), environment["SERVER_PORT"]
        if name.lower() in {f"{local}{end}" for local in LOCAL_NAMES for end in ("", f":{port}")}:
            return application(environment, start_response)
        start_response("421 Misdirected Request", [("Content-Type", "text/plain")])
        return [b"This dashboard answers requests to 127.0.0.1 and localhost only.\n"]

    return answer_local


class _Server(ThreadingMixIn, WSGIServer):
    """A server with a thread per connection: browsers open idle connections, which would block all others."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """A request handler that does not log requests."""

    def log_message(self, format: str, *args: Any) -> None:
        """Discard the line."""
