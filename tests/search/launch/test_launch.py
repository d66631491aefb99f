"""Test the command line of a search: every kind of bad input, and resumed runs."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from search.session.session import READING
from tests.search.launch.places import HEADER, NAME, SST, SST_SPACE, Place, launch
from tests.search.searching import SPACE, environment
from tests.waiting import LIMIT_SECONDS
from trainers.start import LOADING


def with_space(text: str) -> Callable[[Place], list[str]]:
    def arguments(place: Place) -> list[str]:
        place.space.write_text(text)
        return place.options()

    return arguments


def with_data(train: str, encoding: str = "utf-8") -> Callable[[Place], list[str]]:
    return lambda place: place.data(train.encode(encoding))


def with_options(**changed: object) -> Callable[[Place], list[str]]:
    return lambda place: place.options(**changed)


def empty_data(place: Place) -> list[str]:
    (place.storage.parent / "data").mkdir()
    return place.options(data=place.storage.parent / "data")


def missing_space(place: Place) -> list[str]:
    place.space.unlink()
    return place.options()


def weights_that_do_not_fit(place: Place) -> list[str]:
    other = place.storage.parent / "encoder"
    other.mkdir()
    for path in place.encoder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = other / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))
    return place.options(encoder=other)


def storage_that_is_a_file(place: Place) -> list[str]:
    place.storage.write_text("")
    return place.options()


Fault = tuple[Callable[[Place], list[str]], str]
"""A function that returns the command line, and a part of the error message."""

OPTION_FAULTS: dict[str, Fault] = {
    "missing space": (missing_space, "space.py. Pass the path of one, or a name: batch_sizes, everything,"),
    "unknown sampler": (with_options(sampler="tp"), "Unknown sampler 'tp'; did you mean 'tpe'?"),
    "unknown trial scheduler": (with_options(trial_scheduler="median"), "Unknown trial scheduler 'median'"),
    "unknown precision": (with_options(precision="bfloat"), "Unknown precision 'bfloat'; did you mean 'bfloat16'?"),
}
"""Faults that are found before any library is loaded."""

MACHINE_FAULTS: dict[str, Fault] = {
    "several GPUs for a trial": (with_options(gpus_per_trial=2), "--gpus-per-trial 2: a trial trains on one GPU, so"),
    "more CPUs than there are": (with_options(cpus_per_trial=9999), "9999 CPUs and 0 GPUs fits on no node"),
    "more trials than fit": (with_options(concurrency=9999), "--concurrency 9999: only"),
    "storage of no known kind": (with_options(storage="nowhere://runs"), "Cannot open nowhere://runs"),
    "study of no known kind": (with_options(study="nowhere://study"), "--study nowhere://study"),
    "GPU-hours without GPUs": (with_options(gpu_hours=5, gpus_per_trial=0), "--gpu-hours 5: a trial has 0 GPUs here"),
    "budget without unit": (with_options(time_budget="90"), "--time-budget '90' is not a duration. Write it with"),
}
"""Faults that are found before the data are read."""

CLUSTER_FAULTS: dict[str, Fault] = {
    "127.0.0.1:1": (with_options(address="127.0.0.1:1"), "--address 127.0.0.1:1:"),
    "nowhere": (with_options(address="nowhere"), "--address nowhere: Invalid address"),
}
"""Addresses at which no cluster answers."""

DATA_FAULTS: dict[str, Fault] = {
    "missing data": (with_options(data="/no/such/data"), "Data directory /no/such/data does not exist. Pass"),
    "empty data": (empty_data, "data is empty. Add the files of"),
    "missing column": (with_data("id\ttext\tsentiment\na\tA\t3\n"), "train.csv, line 1: column 'sentence' is not"),
    "label out of range": (
        with_data(SST + "x\tOne .\t5\n"),
        "train.csv, line 10: label '5' of task sst is outside 0 to",
    ),
    "label in words": (
        with_data(SST + "x\tOne .\tgood\n"),
        "train.csv, line 10: label 'good' of task sst is not",
    ),
    "no rows": (with_data(HEADER), "train.csv has a header but no rows. Add"),
    "not UTF-8": (with_data(SST + "x\tcaf\xe9\t1\n", "latin-1"), "train.csv, line 10: byte 0xe9 is not UTF-8. Save"),
    "too few fields": (with_data(SST + "x\tOne .\n"), "train.csv, line 10: the row has 2 fields, the header 3. Write"),
    "too many fields": (
        with_data(SST + "x\tOne\t.\t1\n"),
        "train.csv, line 10: the row has 4 fields, the header 3. Write",
    ),
    "id twice": (with_data(SST + "0\tOne .\t1\n"), "train.csv, line 10: id '0' occurs twice, first in line 2. Make"),
    "task not in the data": (with_data(SST), "qqp"),
    "space without suggest": (with_space("START = []"), "space.py does not define suggest(trial)"),
    "space that cannot be loaded": (with_space("1 / 0"), "space.py cannot be loaded: ZeroDivisionError"),
    "space that raises": (with_space("def suggest(trial):\n    1 / 0"), "suggest raised ZeroDivisionError"),
    "unknown field": (with_space(SPACE.replace("batch_size=", "batchsize=")), "did you mean 'batch_size'?"),
    "unknown encoder": (
        with_options(encoder="no such encoder"),
        "'no such encoder' is neither a directory nor a valid hub id. Pass minilm",
    ),
    "weights that do not fit": (weights_that_do_not_fit, ", 32], but its config.json says ["),
    "storage that is a file": (storage_that_is_a_file, "Give a folder or URI that can be written"),
    "nothing to learn from": (
        with_options(warm_start="nothing"),
        "There is no run 'nothing': no search.json was found at this path, or under this name in ",
    ),
    "nothing to resume": (lambda place: [*place.options(), "--resume"], f"There is no run {NAME!r}"),
    "a population too small to replace a trial": (
        with_options(trial_scheduler="population", trials=3),
        "--trials 3: in a population of fewer than 4 trials no trial is ever replaced. Pass 4 or more",
    ),
    "unknown objective": (with_options(objective="scores"), "Unknown objective 'scores'; did you mean 'score'?"),
    "an objective that allows no other": (
        lambda place: [*place.options(objective="ensemble"), "--objective", "score"],
        "--objective ensemble cannot be combined with other objectives. Leave it or the others out.",
    ),
    "an objective that the sampler does not support": (
        with_options(sampler="gp", objective="ensemble"),
        "--sampler gp does not support --objective ensemble. Pass tpe or random.",
    ),
}
"""Faults of the space, the data, the encoder or the combination of options."""

FAULTS = [
    pytest.param(announced, *fault, id=name)
    for announced, faults in (
        ([], OPTION_FAULTS),
        ([LOADING], MACHINE_FAULTS),
        ([LOADING, READING], DATA_FAULTS),
    )
    for name, fault in faults.items()
]
FAULTS += [
    pytest.param([LOADING, f"Joining the Ray cluster at {address} ..."], *fault, id=f"no cluster at {address}")
    for address, fault in CLUSTER_FAULTS.items()
]


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("announced", "arguments", "message"), FAULTS)
def test_bad_input_is_one_sentence_with_a_remedy_and_leaves_no_run_behind(place, announced, arguments, message):
    ended = launch(arguments(place))
    assert ended.exit_code == 2, ended.output
    assert ended.stdout.splitlines() == announced
    assert ended.stderr.startswith("Error: ") and ended.stderr.endswith(".\n") and ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert not (place.storage / NAME).exists()


NUMBERS = {
    "--trials": ("0", "-3", "two", "1.5"),
    "--rows": ("0",),
    "--concurrency": ("0", "many"),
    "--dev-rows": ("0",),
    "--seed": ("-1",),
    "--keep": ("0", "few"),
    "--cpus-per-trial": ("0",),
    "--gpus-per-trial": ("-1", "one"),
    "--stop-at": ("80", "-0.1", "best"),
    "--plateau": ("0", "0.5"),
    "--gpu-hours": ("0", "-1", "2h"),
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in NUMBERS for value in NUMBERS[option]])
def test_a_number_out_of_range_is_an_error_that_names_its_option(place, option, value):
    ended = launch([*place.options(), option, value])
    assert ended.exit_code == 2 and ended.stdout == ""
    assert re.search(f"^Error: Invalid value for '{option}': .*$", ended.stderr, re.MULTILINE)
    assert not place.storage.exists()


def another_space(place: Place) -> list[str]:
    place.space.write_text(SST_SPACE.replace("0.5", "0.4"))
    return []


def other_rows_in_the_same_files(place: Place) -> list[str]:
    train = place.storage.parent / "data" / "ids-sst-train.csv"
    train.write_text(train.read_text().replace("fine", "dull"))
    return []


RESUMES: dict[str, tuple[Callable[[Place], list[str]], bool, str]] = {
    "without --resume": (
        lambda place: ["--seed", "1"],
        False,
        f"Run {NAME!r} exists with 0 ended trials. Pass --resume",
    ),
    "another space": (another_space, True, f"Run {NAME!r} was made with another space"),
    "other data": (lambda place: ["--data", "sample"], True, "not with --data sample. Leave --data out"),
    "data that changed": (
        other_rows_in_the_same_files,
        True,
        "that run 'run' was made with. Restore",
    ),
    "other rows": (lambda place: ["--rows", "1"], True, "was made without --rows, not with --rows 1. Leave"),
    "another encoder": (lambda place: ["--encoder", "minilm"], True, "not with --encoder minilm. Leave --encoder"),
    "another seed": (lambda place: ["--seed", "1"], True, "made with --seed 0, not with --seed 1. Leave --seed out"),
    "another objective": (lambda place: ["--objective", "sst"], True, "made with --objective score, not with --ob"),
}


@pytest.mark.parametrize(("change", "resume", "message"), RESUMES.values(), ids=RESUMES)
def test_an_existing_run_is_not_changed_by_a_command_that_does_not_continue_it(place, change, resume, message):
    place.space.write_text(SST_SPACE)
    arguments = place.data(SST.encode())
    run = place.prepared(data=arguments[-1])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    arguments += [*change(place), *(["--resume"] if resume else [])]
    ended = launch(arguments)
    assert ended.exit_code == 2, ended.output
    assert ended.stdout.splitlines() == [LOADING, READING]
    assert ended.stderr.startswith("Error: ") and ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_command_in_a_process_prints_the_error_and_no_message_of_a_library(place):
    faults = [
        ([LOADING], place.options(gpus_per_trial=99)),
        ([LOADING, READING], place.data((SST + "x\tOne .\t5\n").encode())),
    ]
    processes = [  # at the same time, because most of their time is the import of libraries
        subprocess.Popen(
            [sys.executable, "-m", "search.launch", *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _, arguments in faults
    ]
    for process, (announced, _) in zip(processes, faults, strict=True):
        output, error = process.communicate(timeout=LIMIT_SECONDS)
        assert (process.returncode, output.splitlines()) == (2, announced)
        assert error.startswith("Error: ") and error.count("\n") == 1
    assert not place.storage.exists()
