"""Test that no secret of a URL is shown, in whatever part of the URL it stands."""

import pytest

from model.errors import InputError
from trainers.urls import MASK, is_url, resolved, shown, without_secrets

SHOWN = {
    "postgresql://user:secret@host/db": "postgresql://user:***@host/db",
    "postgresql://user:s@e/c:r?t@host/db": "postgresql://user:***@host/db",
    "postgresql://us@er:secret@host/db": "postgresql://us@er:***@host/db",
    "postgresql://us/er:secret@host:5432/db": "postgresql://us/er:***@host:5432/db",
    "postgresql://user:p%40ss@host/db#study": "postgresql://user:***@host/db#study",
    "redis://:secret@host": "redis://:***@host",
    "s3://KEY:SE/CRET@bucket/runs?region=eu": "s3://KEY:***@bucket/runs?region=eu",
    "mysql://host/db?user=me&password=secret&charset=utf8": "mysql://host/db?user=me&password=***&charset=utf8",
    "postgresql://host/db?sslmode=require&PASSWORD=a;b#c": "postgresql://host/db?sslmode=require&PASSWORD=***",
    "mysql://host/db?pass%77ord=secret": "mysql://host/db?pass%77ord=***",
    "mssql://host/db?odbc_connect=UID%3Dme%3BPWD%3Dsecret": "mssql://host/db?odbc_connect=***",
    "s3://bucket/runs?access_key=a&secret_key=b&region=eu": "s3://bucket/runs?access_key=***&secret_key=***&region=eu",
    "abfs://box@account/runs?sas_token=sv=2020&sig=x": "abfs://box@account/runs?sas_token=***&sig=***",
    "--study=postgresql://user:secret@host/db": "--study=postgresql://user:***@host/db",
    "sqlite+pysqlcipher://:secret@/x.db?cipher=aes": "sqlite+pysqlcipher://:***@/x.db?cipher=aes",
}
UNCHANGED = [
    "sqlite:////data/a:b/c@d.db?timeout=30",
    "file:///data/a:b/c@d",
    "s3://bucket/a@b",
    "postgresql://user@host:5432/db",
    "runs/a?password=b",
    "--trials=3",
    "",
]


@pytest.mark.parametrize(("url", "expected"), SHOWN.items(), ids=SHOWN.keys())
def test_secrets_are_masked_and_all_else_is_shown(url, expected):
    assert shown(url) == expected
    assert shown(expected) == expected


@pytest.mark.parametrize("text", UNCHANGED)
def test_a_text_without_secrets_is_shown_as_it_is(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    "message",
    [
        "could not connect to postgresql://user:s@ec/r%20et@host/db?password=other%21",
        "could not translate host name 'ec/r%20et@host'",
        "password authentication failed: 's@ec/r et'",
        "no such file: r et@host/db",
        "dsn: password=other!",
    ],
)
def test_a_message_of_a_library_shows_no_part_of_a_secret(message):
    hidden = without_secrets(message, "postgresql://user:s@ec/r%20et@host/db?password=other%21")
    assert MASK in hidden
    assert not any(part in hidden for part in ("r%20et", "r et", "other"))


def test_a_message_without_secrets_is_left_as_it_is():
    assert without_secrets("no such host: h", "postgresql://user@h/db?sslmode=require") == "no such host: h"


def test_env_names_a_variable_that_holds_the_url(monkeypatch):
    monkeypatch.setenv("STUDY_URL", "postgresql://user:secret@host/db")
    assert resolved("env:STUDY_URL") == "postgresql://user:secret@host/db"
    assert resolved("runs") == "runs"
    monkeypatch.setenv("STUDY_URL", "")
    with pytest.raises(InputError, match=r"^env:STUDY_URL: the environment variable 'STUDY_URL' is not set\. Export"):
        resolved("env:STUDY_URL")


def test_only_a_text_that_begins_with_a_scheme_is_a_url():
    assert is_url("s3://bucket") and is_url("file:///tmp")
    assert not any(map(is_url, ("/data/s3://x", "a b://c", "C:/x", "runs?x=y", "://x")))
