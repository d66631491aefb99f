"""The content of `corpus.json`: what a tokenised corpus has, which names it may have, and its files' checksums."""

import io
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from model.errors import InputError
from model.files.checksum import BLANK, KEY, ChecksumError, check_checksum, write_with_checksum
from model.files.json_text import parse_json
from model.tokenizer import SpecialTokens
from trainers.data.declared_tasks import HEADER, SPLITS, TaskDeclaration, first_fault, name_fault
from trainers.data.text_files import NAME
from trainers.folder import Folder
from trainers.settings import Config
from trainers.tasks import KIND_METRICS, TASKS, Task, default_metric, tasks_from_json

FORMAT = 4
"""Version of the corpus directory's format; increase it when `prepare` writes something else."""
CORPUS_FILE = "corpus.json"
REMEDY = "Pass the source of the data as --data, or copy the file from a backup of the run"
Checksum = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class TaskRecord(TaskDeclaration):
    """A task of a corpus: a built-in one, or one that a user may declare."""

    name: str
    metric: str = ""
    submission: str
    submission_header: str

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        if self.metric and self.metric not in KIND_METRICS[self.kind]:
            yield f"metric {self.metric!r} is none of a {self.kind}'s"
        if self.name in TASKS:
            if self.task() != TASKS[self.name]:
                yield "it differs from the built-in task of its name"
        elif fault := name_fault(self.name):
            yield fault
        # The names of prediction files start with `submission`.
        elif (self.submission, self.submission_header) != (self.name, HEADER):
            yield "submission and submission_header are not those of a declared task"

    def task(self) -> Task:
        """Return the task."""
        fields = self.model_dump() | {"metric": self.metric or default_metric(self.kind)}
        return tasks_from_json({self.name: fields})[self.name]


class CorpusRecord(Config):
    """What a tokenised corpus has, and the checksums of its files."""

    format: Literal[4]
    checksum: str
    """The checksum of `corpus.json` itself."""
    fingerprint: str = Field(pattern=r"^[0-9a-f]{32}$")
    specials: SpecialTokens
    tasks: dict[str, TaskRecord]
    splits: dict[str, tuple[str, ...]]
    """Task -> names of its splits."""
    texts: tuple[str, ...]
    """The names of the text sets."""
    checksums: dict[str, Checksum]
    """File -> CRC-32 of its content."""

    def _faults(self) -> Iterator[str]:
        for name, record in self.tasks.items():
            if name != record.name:
                yield f"tasks.{name}: its name is {record.name!r}"
        if self.splits.keys() != self.tasks.keys():
            yield "splits and tasks have different names"
        for task, splits in self.splits.items():
            if not {"train", "dev"} <= set(splits) <= set(SPLITS) or len(set(splits)) < len(splits):
                yield f"splits.{task}: not train, dev and possibly test"
        for name in self.texts:
            if not NAME.fullmatch(name) or name in self.tasks:
                yield f"texts: {name!r} is no name of a text set"
        if self.checksums.keys() != set(self.files()):
            yield "checksums: not those of the corpus's files"

    def files(self) -> Iterator[str]:
        """Yield the names of the Arrow files."""
        for task, splits in self.splits.items():
            yield from (split_file(task, split) for split in splits)
        yield from map(text_file, self.texts)


def split_file(task: str, split: str) -> str:
    """Return the name of the Arrow file of a task's split."""
    return f"{task}-{split}.arrow"


def text_file(name: str) -> str:
    """Return the name of the Arrow file of a text set."""
    return f"{name}-text.arrow"  # no split has this name


def corpus_json(description: dict[str, Any]) -> bytes:
    """Return the content of `corpus.json` with its checksum, from the other fields of a `CorpusRecord` as JSON."""
    result = io.BytesIO()
    content = json.dumps({"format": FORMAT, KEY: BLANK} | description, indent=2) + "\n"
    write_with_checksum(result, content.encode(), first=True)
    return result.getvalue()


def read_corpus_json(folder: Folder) -> CorpusRecord:
    """Read and check `corpus.json`.

    Raises:
        InputError: the folder holds no corpus, another version of this program wrote it, or the file was changed.
    """
    try:
        content = folder.read(CORPUS_FILE)
        data = parse_json(content)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f"Another version of this program wrote the corpus {folder}. {REMEDY}.")
        check_checksum(content, first=True)
        return CorpusRecord.model_validate(data)
    except FileNotFoundError:
        raise InputError(f"No tokenised corpus at {folder}. {REMEDY}.") from None
    except pydantic.ValidationError as error:
        fault = first_fault(error, CorpusRecord).rstrip(".")
    except (ValueError, ChecksumError) as error:
        fault = str(error)
    raise InputError(f"{folder}/{CORPUS_FILE} cannot be used: {fault}. {REMEDY}.")
