"""Serve the dashboard of a run, and check that no request can change the study."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from wsgiref.simple_server import make_server

import optuna
import optuna_dashboard
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from model.errors import InputError
from search.dashboard.server import HOST, serve, show, study_storage
from search.runs import search_record
from search.runs.run import STUDY, Run
from tests.search.example_run import example_run
from tests.waiting import LIMIT_SECONDS, wait_for

POLL = 0.01
"""Seconds between a server's checks whether it was asked to shut down."""
APPEND = """
import sys, optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
study = optuna.load_study(study_name="example", storage=JournalStorage(JournalFileBackend(sys.argv[1])))
study.tell(study.ask({"dropout": optuna.distributions.FloatDistribution(0, 1)}), 0.5)
"""


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory)
    optuna.create_study(storage=journal(run), study_name="example", direction="maximize")
    return run


@pytest.fixture
def page(run):
    with serve(run, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL,))
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def journal(run):
    return JournalStorage(JournalFileBackend(str(run.folder.local / STUDY)))


def answer(url, method="GET", **headers):
    try:
        request = urllib.request.Request(url, None, headers, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_page_and_the_list_of_studies_are_served(page):
    status, body = answer(f"{page}/dashboard")
    assert status == 200
    assert b"<html" in body.lower()
    status, body = answer(f"{page}/api/studies")
    assert status == 200
    assert [study["study_name"] for study in json.loads(body)["study_summaries"]] == ["example"]


def test_a_head_request_gets_the_status_of_get_without_a_body(page):
    assert answer(f"{page}/api/studies", "HEAD") == (200, b"")


def test_only_requests_to_names_of_this_machine_are_answered(page):
    port = page.rsplit(":", 1)[1]
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for host in (name, f"{name}:{port}"):
            assert answer(f"{page}/api/studies", Host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.example", "localhost@evil"):
        status, body = answer(f"{page}/api/studies", Host=host)
        assert (status, b"studies" in body) == (421, False)


@pytest.mark.parametrize("method", ["DELETE", "POST", "PUT", "PATCH", "OPTIONS", "delete", "NONSENSE"])
@pytest.mark.parametrize("path", ["api/studies/0", "api/studies"])
def test_requests_that_may_change_the_study_are_answered_with_405(run, page, path, method):
    before = run.folder.read(STUDY)
    assert answer(f"{page}/{path}", method)[0] == 405
    assert run.folder.read(STUDY) == before
    assert [study.study_name for study in optuna.get_all_study_summaries(journal(run))] == ["example"]


def test_unprotected_optuna_dashboard_lets_a_request_delete_the_study(run):
    with make_server(HOST, 0, optuna_dashboard.wsgi(journal(run))) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert answer(f"http://{HOST}:{server.server_port}/api/studies/0", "DELETE")[0] == 204
        thread.join()
    assert not optuna.get_all_study_summaries(journal(run))


def test_requests_that_read_do_not_change_the_study(run, page):
    before = run.folder.read(STUDY)
    for path in ("dashboard", "api/studies", "api/studies/0", "api/studies/0/param_importances"):
        answer(f"{page}/{path}")
    assert run.folder.read(STUDY) == before


def test_a_trial_that_another_process_adds_appears_in_the_dashboard(run, page):
    def count():
        return len(json.loads(answer(f"{page}/api/studies/0")[1])["trials"])

    assert count() == 0
    subprocess.run([sys.executable, "-c", APPEND, str(run.folder.local / STUDY)], check=True, timeout=LIMIT_SECONDS)
    wait_for(lambda: count() == 1)


def test_an_idle_connection_does_not_block_other_connections(page):
    with socket.create_connection(page.removeprefix("http://").split(":"), timeout=LIMIT_SECONDS):
        assert answer(f"{page}/api/studies")[0] == 200


def test_a_missing_study_is_rebuilt_from_the_trials(run):
    run.folder.delete(STUDY)
    with serve(run, 0) as server:
        threading.Thread(target=server.serve_forever, args=(POLL,)).start()
        trials = json.loads(answer(f"http://{HOST}:{server.server_port}/api/studies/0")[1])["trials"]
        server.shutdown()
    assert [trial["state"] for trial in trials] == ["Complete", "Complete", "Pruned", "Fail"]
    assert not run.folder.exists(STUDY)


def test_the_database_that_a_run_names_is_opened_only_if_the_user_gives_it(run, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    search_record.write_search(run.folder, run.search.replace(study=url))
    run.folder.delete(STUDY)
    run = Run(run.folder)
    assert isinstance(study_storage(run, None), InMemoryStorage)
    with pytest.raises(InputError, match=r"--study sqlite:.*: there is no file .*study\.db\. Correct the URL\."):
        study_storage(run, url)
    assert not (tmp_path / "study.db").exists()
    (tmp_path / "study.db").touch()
    with pytest.raises(InputError, match=r"--study sqlite:.* cannot be read: .*Pass a storage of Optuna\."):
        study_storage(run, url)
    assert (tmp_path / "study.db").read_bytes() == b""
    (tmp_path / "study.db").unlink()
    optuna.create_study(storage=url, study_name="given")
    assert [study.study_name for study in study_storage(run, url).get_all_studies()] == ["given"]


def test_a_damaged_journal_is_replaced_by_the_trials_files(run):
    run.folder.write(STUDY, "damaged\nlines\n")
    assert len(study_storage(run, None).get_all_trials(0)) == len(run.trials())
    assert run.folder.read(STUDY) == b"damaged\nlines\n"


def test_a_port_in_use_is_an_error(run, page):
    port = int(page.rsplit(":", 1)[1])
    with pytest.raises(InputError, match=f"--port {port} cannot be used.*Pass another"):
        serve(run, port)


@pytest.mark.parametrize("place", ["Run.open", "study_storage"])
def test_a_run_that_cannot_be_read_is_an_error_that_names_the_file_and_no_port(run, monkeypatch, place):
    def refuse(*given):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/runs/example/search.json")

    monkeypatch.setattr(f"search.dashboard.server.{place}", refuse)
    with pytest.raises(InputError) as raised:
        show(str(run.folder), "runs", 0, None)
    assert str(raised.value) == (
        "/runs/example/search.json: Permission denied. Check that the files of the run can be read."
    )


def test_a_run_whose_study_is_in_a_database_is_shown_with_a_line_that_says_how_to_open_it(run, monkeypatch, capsys):
    search_record.write_search(run.folder, run.search.replace(study="postgresql://me:***@host/studies"))
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", lambda server: None)
    show(str(run.folder), "runs", 0, None)
    assert capsys.readouterr().out.startswith(
        "The study is in the database postgresql://me:***@host/studies. Pass --study URL to show it; without --study "
        "the dashboard shows the run's files as they were at its start.\nhttp://127.0.0.1:"
    )


def test_the_command_ends_with_code_130_on_a_signal_and_prints_nothing_to_stderr(run):
    command = [sys.executable, "-m", "search.dashboard", str(run.folder)]
    started = {  # at the same time, because most of a start is imports
        kill: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for kill in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for kill, process in started.items():
            assert process.stdout
            line = process.stdout.readline()
            assert answer(line.split()[0] + "api/studies")[0] == 200
            os.kill(process.pid, kill)
            _, errors = process.communicate(timeout=LIMIT_SECONDS)
            assert process.returncode == 130, kill
            assert errors == "", kill
    finally:
        for process in started.values():
            process.kill()
            process.communicate()
