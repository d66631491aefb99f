"""Test that files on a disk and on an object store are complete or absent, even if a process is killed."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from model.errors import InputError
from model.whole_files import cut_unfinished_line
from tests.json_files import read_json
from tests.stores import object_store
from tests.waiting import LIMIT_SECONDS
from trainers.folder import Folder, local_copy, publish

ROOT = Path(__file__).parents[2]
PLACES: dict[str, Callable[[Path], Folder]] = {
    "disk": lambda path: Folder.at(path / "run"),
    "uri of a disk": lambda path: Folder.at(f"file://{path}/run"),
    "store": lambda path: object_store(path / "run"),
}
WRITES = """
import sys
from trainers.folder import Folder
with Folder.at(sys.argv[1]).writing("weights") as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    sys.stdin.read()
"""
LINES = st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))


ODD_NAMES = ("what?", "a#b", "100%", "a%3Fb", "my run", "über", "x:", "a'b\"c", "new\nline", "*", "$HOME")


@pytest.fixture(params=PLACES)
def folder(request, tmp_path) -> Folder:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def store(tmp_path) -> Folder:
    return PLACES["store"](tmp_path)


def test_files_are_read_as_they_were_written(folder):
    assert not folder.exists() and not folder.exists("a") and folder.names() == []
    folder.write("b", "text ü")
    folder.write("a", b"\0\xff")
    (folder / "inside").write("c", b"")
    assert folder.exists() and folder.exists("a") and folder.exists("inside")
    assert folder.names() == ["a", "b", "inside"]
    assert (folder.read("a"), folder.read("b").decode(), (folder / "inside").read("c")) == (b"\0\xff", "text ü", b"")
    assert folder.size("a") == 2
    assert len(folder.modified()) == 3
    folder.write("a", b"anew")
    assert folder.read("a") == b"anew"
    with pytest.raises(FileNotFoundError):
        folder.read("d")


def test_delete_removes_files_and_folders_and_accepts_missing_ones(folder):
    folder.write("a", "")
    (folder / "inside").write("b", "")
    (folder / "inside" / "deep").write("c", "")
    folder.write("kept", "")
    for name in ("a", "inside", "never there"):
        folder.delete(name)
        folder.delete(name)
    assert folder.names() == ["kept"]


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_a_local_path_is_a_path_whatever_is_in_it(tmp_path, odd):
    (tmp_path / odd).mkdir(parents=True)
    folder = Folder.at(tmp_path / odd / "runs") / odd
    assert folder.local == tmp_path / odd / "runs" / odd
    folder.write("a", "content")
    assert (tmp_path / odd / "runs" / odd / "a").read_text() == "content"
    for same in (Folder.at(folder.uri), Folder.at((tmp_path / odd / "runs").as_uri()) / odd, Folder.at(str(folder))):
        assert (same.path, same.uri) == (folder.path, folder.uri)
        assert same.read("a") == b"content"


@pytest.mark.parametrize("name", ["what?", "a#b", "100%", "my run", "über"])
def test_a_folder_on_an_object_store_is_opened_again_by_its_uri(name):
    folder = Folder.at("s3://KEY:SECRET@bucket/runs?region=eu") / name
    assert folder.path == f"bucket/runs/{name}"
    assert Folder.at(folder.uri).path == folder.path
    assert str(folder).startswith("s3://KEY:***@bucket/runs/") and str(folder).endswith("?region=eu")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///tmp/a?b", r"Cannot open file:///tmp/a\?b: write # as %23 and \? as %3F, or pass a path"),
        ("s3://bucket/a#b", "Cannot open s3://bucket/a#b: write # as %23"),
        ("s3://KEY:SE/CRET@bucket/runs", r"Cannot open s3://KEY:\*\*\*@bucket/runs: Cannot parse URI"),
        ("what://bucket/runs?token=SECRET", r"Cannot open what://bucket/runs\?token=\*\*\*: .*Pass a path, or a URI"),
        ("/tmp/\udcff", "The path '/tmp/.udcff' is not valid UTF-8. Rename the folder"),
    ],
)
def test_a_location_that_cannot_be_opened_is_refused_without_its_secrets(location, message):
    with pytest.raises(InputError, match=message) as caught:
        Folder.at(location)
    assert "CRET" not in str(caught.value)


@pytest.mark.parametrize("before", [None, b"before"])
def test_an_interrupted_file_does_not_appear(folder, before):
    if before:
        folder.write("weights", before)
    with pytest.raises(KeyboardInterrupt), folder.writing("weights") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert folder.names() == (["weights"] if before else [])
    assert not before or folder.read("weights") == before


def test_a_file_does_not_exist_before_it_is_complete(folder):
    with folder.writing("weights") as file:
        file.write(b"half")
        assert not folder.exists("weights")
    assert folder.read("weights") == b"half"


def test_a_reader_of_a_file_that_is_replaced_reads_the_old_content(tmp_path):
    folder = Folder.at(tmp_path)
    folder.write("weights", b"before")
    with open(tmp_path / "weights", "rb") as reader:
        folder.write("weights", b"after")
        assert reader.read() == b"before"
    assert folder.read("weights") == b"after"


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    folder = Folder.at(tmp_path)
    folder.write("weights", b"before")
    arguments = [sys.executable, "-c", WRITES, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_SECONDS)
    assert folder.read("weights") == b"before"
    folder.write("weights", b"after")
    assert folder.read("weights") == b"after"


def test_json_is_read_as_written_and_numbers_must_be_finite(folder):
    folder.write_json("a.json", {"a": [1, None, "ü"]})
    assert read_json(folder, "a.json") == {"a": [1, None, "ü"]}
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            folder.write_json("b.json", [value])
        with pytest.raises(ValueError):
            folder.append_json("b.jsonl", [value])
    assert folder.names() == ["a.json"]


def lines(folder: Folder) -> list[Any]:
    content = folder.read("rows.jsonl").decode() if folder.exists("rows.jsonl") else ""
    return [json.loads(line) for line in content.split("\n")[:-1]]


@given(rows=LINES)
def test_lines_are_read_in_the_order_of_writing(tmp_path_factory, rows):
    for name, place in PLACES.items():
        folder = place(tmp_path_factory.mktemp(name.replace(" ", "-")))
        assert lines(folder) == []
        for line in rows:
            folder.append_json("rows.jsonl", line)
        assert lines(folder) == rows


@given(rows=LINES, cut=st.floats(0, 1))
def test_a_file_of_lines_truncated_anywhere_keeps_its_complete_lines(tmp_path_factory, rows, cut):
    folder = Folder.at(tmp_path_factory.mktemp("lines"))
    whole = "".join(json.dumps(line) + "\n" for line in rows).encode()
    left = whole[: round(cut * len(whole))]
    folder.write("rows.jsonl", left)
    kept = rows[: left.count(b"\n")]
    folder.append_json("rows.jsonl", "next")
    assert lines(folder) == [*kept, "next"]


def test_only_an_unfinished_last_line_is_removed():
    for before, after in [(b"", b""), (b"half", b""), (b"a\nb", b"a\n"), (b"a\n\n", b"a\n\n")]:
        file = io.BytesIO(before)
        cut_unfinished_line(file)
        assert file.getvalue() == after
        assert file.tell() == len(after)


ACCESSES: dict[str, Callable[[Folder, str], object]] = {
    "exists": lambda folder, name: folder.exists(name),
    "read": lambda folder, name: folder.read(name),
    "names": lambda folder, name: (folder / name).names(),
    "write": lambda folder, name: folder.write(name, "changed"),
    "append": lambda folder, name: folder.append(name, "changed"),
    "in place": lambda folder, name: folder.in_place(name).__enter__(),
    "delete": lambda folder, name: folder.delete(name),
    "read inside": lambda folder, name: (folder / name).read("kept"),
    "write inside": lambda folder, name: (folder / name).write("kept", "changed"),
    "append inside": lambda folder, name: (folder / name / "deep").append("kept", "changed"),
    "create inside": lambda folder, name: folder.write(f"{name}/new", "changed"),
    "delete inside": lambda folder, name: (folder / name).delete("kept"),
    "walk": lambda folder, name: folder.check_links(),
}


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("target", ["documents", "documents/kept", "nothing"])
def test_no_access_follows_a_link_inside_the_folder(tmp_path, access, target):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "kept").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=r"run/link is a symbolic link, which a run does not follow\. Replace it"):
        ACCESSES[access](Folder.at(tmp_path / "run"), "link")
    assert [path.name for path in tmp_path.iterdir()] == ["documents", "run"] or not (tmp_path / "nothing").exists()
    assert [(path.name, path.read_text()) for path in (tmp_path / "documents").iterdir()] == [("kept", "mine")]
    assert (tmp_path / "run" / "link").is_symlink()


def test_the_opened_folder_and_those_above_it_may_be_links(tmp_path):
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "storage").symlink_to("real")
    (tmp_path / "other").symlink_to("real/run")
    for path in (tmp_path / "storage" / "run", tmp_path / "other"):
        folder = Folder.at(path)
        (folder / "inside").append("rows", path.name)
        folder.check_links()
    assert (tmp_path / "real" / "run" / "inside" / "rows").read_text() == "run\nother\n"


def test_deleting_a_folder_leaves_what_its_links_lead_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    (tmp_path / "run" / "old").mkdir(parents=True)
    (tmp_path / "run" / "old" / "link").symlink_to(tmp_path / "kept")
    Folder.at(tmp_path / "run").delete("old")
    assert (tmp_path / "kept" / "file").read_text() == "mine" and Folder.at(tmp_path / "run").names() == []


@pytest.mark.parametrize("access", ["exists", "read", "write", "append", "in place", "walk"])
def test_a_named_pipe_is_refused_without_waiting_for_it(tmp_path, access):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is neither a file nor a folder"):
        ACCESSES[access](Folder.at(tmp_path), "pipe")


def test_a_file_with_a_second_name_is_not_changed_in_place(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    os.link(tmp_path / "mine", tmp_path / "run" / "rows")
    with pytest.raises(InputError, match=r"run/rows has a second name elsewhere \(a hard link\)"):
        Folder.at(tmp_path / "run").append("rows", "changed")
    Folder.at(tmp_path / "run").write("rows", "replaced")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "..", "a\0b"])
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    for access in (folder.exists, folder.read, folder.delete, lambda name: folder.write(name, "")):
        with pytest.raises(InputError, match="is no name of a file in"):
            access(name)


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file, not a folder"):
        (Folder.at(tmp_path) / "file").names()
    with pytest.raises(InputError, match="is a folder, not a file"):
        Folder.at(tmp_path.parent).append(tmp_path.name, "line")


def test_a_uri_opens_the_same_folder_in_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Folder.at("runs") / "one"
    folder.write("a", "text")
    monkeypatch.chdir("/")
    assert Folder.at(folder.uri).read("a") == b"text"
    assert Folder.at(Path(folder.uri)).local == tmp_path / "runs" / "one"
    assert Folder.at(f"file://{folder.uri}").local == folder.local
    assert (folder.name, str(folder)) == ("one", str(tmp_path / "runs" / "one"))


def test_a_uri_of_a_store_keeps_its_options():
    folder = Folder.at("s3://bucket/runs?region=eu-north-1") / "one"
    assert folder.uri == "s3://bucket/runs/one?region=eu-north-1" and folder.path == "bucket/runs/one"
    assert Folder.at("s3://bucket/runs?region=eu-north-1").local is None


@pytest.mark.parametrize("location", ["nowhere://a/b", "s4://bucket"])
def test_an_unsupported_uri_is_an_input_error(location):
    with pytest.raises(InputError, match=f"Cannot open {location}"):
        Folder.at(location)


def test_the_local_copy_of_a_folder_on_disk_is_the_folder(tmp_path):
    assert local_copy(Folder.at(tmp_path)) == tmp_path


def test_a_folder_on_a_store_is_copied_once_per_content(tmp_path, monkeypatch, store):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents = {"a.arrow": b"\0\1", "corpus.json": b"{}"}
    (tmp_path / "here").mkdir()
    for name, content in contents.items():
        (tmp_path / "here" / name).write_bytes(content)
    publish(tmp_path / "here", store)
    copy = local_copy(store)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == contents
    written = (copy / "a.arrow").stat().st_mtime_ns
    assert local_copy(store) == copy
    assert (copy / "a.arrow").stat().st_mtime_ns == written
    store.write("a.arrow", b"longer")
    other = local_copy(store)
    assert other != copy and (other / "a.arrow").read_bytes() == b"longer"
    assert (copy / "a.arrow").read_bytes() == b"\0\1", "a process may have mapped the first copy into memory"


def test_changed_content_of_equal_size_is_copied_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "far").mkdir()
    folder = Folder(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "far", "far")
    folder.write("a", b"one")
    first = local_copy(folder)
    folder.write("a", b"two")
    second = local_copy(folder)
    assert ((first / "a").read_bytes(), (second / "a").read_bytes()) == (b"one", b"two")
