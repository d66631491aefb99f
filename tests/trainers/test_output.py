"""Test that a command continues when nobody reads its output any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[2]
WRITES = """
import sys
from trainers.command_line import command
with command("trainers.fit"):
    for number in range(2000):
        print("line", number, "." * 100, flush=True)
        print("error", number, file=sys.stderr)
open(sys.argv[1], "w").write("done")
"""


def running(*command: str, **settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, **settings)


@pytest.mark.parametrize(
    "shell",
    [
        "{} | head -n 2",
        "{} 2>&1 | head -n 2",
        "{} 2>&1 >/dev/null | head -n 2",
        "{} >&- 2>&-",
        "{} > /dev/full 2> /dev/full",
    ],
)
def test_a_command_whose_output_goes_away_ends_its_work_without_a_traceback(shell, tmp_path):
    (tmp_path / "writes.py").write_text(WRITES)
    line = shell.format(f"PYTHONPATH={ROOT} {sys.executable} {tmp_path / 'writes.py'} {tmp_path / 'file'}")
    done = running("bash", "-o", "pipefail", "-c", line)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr and "Exception ignored" not in done.stdout + done.stderr
    assert (tmp_path / "file").read_text() == "done"


def test_the_first_file_that_is_opened_does_not_get_the_number_of_a_closed_output(tmp_path):
    (tmp_path / "writes.py").write_text(
        "import os\nfrom trainers.output import keep_output\nkeep_output()\nopened = open(__file__)\n"
        "os.write(1, b'lost')\nraise SystemExit(opened.fileno())\n"
    )
    line = f"PYTHONPATH={ROOT} {sys.executable} {tmp_path / 'writes.py'} >&- 2>&-"
    assert running("bash", "-c", line).returncode > 2


LIBRARY = """
import logging, os, sys
from pathlib import Path
from trainers.output import keep_output, libraries_errors_in, tell
keep_output()
logging.basicConfig()
with libraries_errors_in(Path(sys.argv[1])):
    print("python", file=sys.stderr)
    os.write(2, b"below python\\n")
    logging.error("logged")
    os.system("echo a child >&2")
    tell("told")
    print("\\u017e \\ud800", file=sys.stderr)
print("after", file=sys.stderr)
"""


@pytest.mark.parametrize("writable", [True, False])
def test_the_errors_of_libraries_go_to_a_file_and_ours_to_the_terminal(tmp_path, writable):
    place = tmp_path / "ray.log"
    if not writable:
        place.symlink_to(tmp_path / "elsewhere")  # a link is not followed
    done = running(sys.executable, "-c", LIBRARY, str(place), env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.stderr == "told\nafter\n"
    assert place.exists() == writable
    if writable:
        assert place.read_text("utf-8") == "python\nbelow python\nERROR:root:logged\na child\n\u017e \\ud800\n"


def test_a_file_that_receives_both_outputs_has_their_lines_in_order():
    code = "from trainers.output import tell; print('first'); tell('second'); print('third')"
    assert running("bash", "-c", f'{sys.executable} -c "{code}" 2>&1').stdout == "first\nsecond\nthird\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_character_that_the_output_cannot_show_is_written_as_an_escape(encoding):
    code = "from trainers.output import keep_output; keep_output(); print('a \\ud800', flush=True)"
    done = running(sys.executable, "-c", code, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stdout, done.stderr) == (0, "a \\ud800\n", "")


ENDS = """
import sys
from pathlib import Path
from model.errors import InputError
from trainers.command_line import Begun, command
from trainers.folder import Folder
from trainers.output import libraries_errors_in, tell
tell("before the command")
with command("trainers.fit", begun=lambda: Begun(Folder.at(Path(sys.argv[1])), True)):
    with libraries_errors_in(Path(sys.argv[1], "errors.log")):
        tell("told")
    {}
"""


@pytest.mark.parametrize(
    ("ends", "code"), [("raise InputError('bad')", 2), ("raise KeyboardInterrupt", 130), ("raise ZeroDivisionError", 1)]
)
def test_errors_do_not_go_to_the_output_if_the_error_output_is_closed(tmp_path, ends, code):
    (tmp_path / "ends.py").write_text(ENDS.format(ends))
    line = f"PYTHONPATH={ROOT} {sys.executable} {tmp_path / 'ends.py'} {tmp_path} 2>&-"
    done = running("bash", "-c", line)
    assert (done.returncode, done.stdout) == (code, "")


def test_an_interruption_before_a_command_does_not_go_to_the_output_if_the_error_output_is_closed():
    code = (
        "import os, signal; from trainers.interruption import leave_quietly; leave_quietly(); "
        "os.kill(os.getpid(), signal.SIGINT)"
    )
    done = running("bash", "-c", f'{sys.executable} -c "{code}" 2>&-')
    assert (done.returncode, done.stdout) == (130, "")
