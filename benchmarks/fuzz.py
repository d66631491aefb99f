"""Give every reader damaged files, and count what is neither read nor refused with an InputError.

    python -m benchmarks.fuzz                        # 200 inputs for every reader
    python -m benchmarks.fuzz tasks --inputs 5000    # one reader
    python -m benchmarks.fuzz tasks --first 17 --inputs 1    # one input again

An input depends on the seed, the reader and its number only. The exit code is 1 if there is a fault: another exception,
a refusal that does not name the file, has several lines or is longer than a paragraph, a process that died (SIGSEGV) or
did not answer.
"""

import argparse
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from benchmarks.fuzz_mutations import mutate
from benchmarks.fuzz_reader import Reader
from benchmarks.fuzz_readers import READERS
from model.errors import InputError

BATCH = 250
"""Inputs per process, so that a reader that keeps memory does not exhaust it."""
MEMORY = 6 * 2**30
"""Address space of a process in bytes: a reader that believes an absurd size fails instead of filling the machine."""
SECONDS = 30
"""A reader that takes longer for one input counts as hanging."""
MESSAGE_CHARACTERS = 1000
"""Largest number of characters of a refusal."""
READ, REFUSED = "read", "InputError"
SHOWN = 5
"""Different faults of a reader that are printed."""


@dataclass
class Result:
    """What came of a reader's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    """Number of inputs: read, refused, or a fault in a few words."""
    examples: dict[str, int] = field(default_factory=dict)
    """Fault -> the first input that has it."""

    def add(self, number: int, outcome: str) -> None:
        self.counts[outcome] += 1
        self.examples.setdefault(outcome, number)

    @property
    def faults(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.counts.items() if outcome not in (READ, REFUSED)}


def outcome(reader: Reader, place: Path) -> str:
    """Read a directory; return READ, REFUSED or a fault in a few words."""
    try:
        reader.read(place)
    except InputError as error:
        message = str(error)
        if "\n" in message or len(message) > MESSAGE_CHARACTERS:
            return f"badly worded: {len(message)} characters, {message[:200]!r}"
        if Path(reader.file).name not in message and str(place) not in message:
            return f"does not name the file: {message}"
        return REFUSED
    except BaseException as error:  # a PanicException of a Rust library is no Exception
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {str(error)[:120]!r}"
    return READ


def run_batch(name: str, numbers: range, seed: int, made: Path, place: Path, answers: Connection) -> None:
    """Damage the reader's file anew for every number, read it, and send the outcome; runs in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader = READERS[name]
    whole = (made / reader.file).read_bytes()
    for number in numbers:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(made, place)
        (place / reader.file).write_bytes(mutate(whole, Random(f"{seed} {name} {number}")))
        signal.alarm(SECONDS)
        answers.send(outcome(reader, place))
        signal.alarm(0)


def death(exitcode: int) -> str:
    """Return how a process ended before its answer, in a few words; a negative exit code is a signal."""
    if exitcode == -signal.SIGALRM:
        return f"hangs for {SECONDS} s"
    return f"dies of signal {-exitcode}" if exitcode < 0 else f"ends with code {exitcode}"


def fuzz(name: str, numbers: range, seed: int, scratch: Path) -> Result:
    """Give a reader these inputs, in processes that may die."""
    result, made, place = Result(), scratch / name, scratch / f"{name}-damaged"
    READERS[name].write(made)
    processes = multiprocessing.get_context("fork")
    while numbers:
        receiving, sending = processes.Pipe(duplex=False)
        arguments = (name, numbers[:BATCH], seed, made, place, sending)
        process = processes.Process(target=run_batch, args=arguments)
        process.start()
        sending.close()
        done = 0
        try:
            for number in numbers[:BATCH]:
                result.add(number, receiving.recv())
                done += 1
        except EOFError:
            process.join()
            result.add(numbers[done], death(process.exitcode or 0))
            done += 1
        process.join()
        numbers = numbers[done:]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"all by default: {', '.join(READERS)}")
    parser.add_argument("--inputs", type=int, default=200, help="number of inputs for each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"unknown reader {', '.join(sorted(unknown))}")
    faults = 0
    print(f"{'reader':<20} {'inputs':>7} {'InputError':>10} {'read':>7} {'other':>7}")
    for name in options.readers or READERS:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            numbers = range(options.first, options.first + options.inputs)
            result = fuzz(name, numbers, options.seed, Path(scratch))
        other = sum(result.faults.values())
        faults += other
        refused, read = result.counts[REFUSED], result.counts[READ]
        print(f"{name:<20} {options.inputs:>7} {refused:>10} {read:>7} {other:>7}", flush=True)
        for fault, count in Counter(result.faults).most_common(SHOWN):
            print(f"    {count} times, first input {result.examples[fault]}: {fault}")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
