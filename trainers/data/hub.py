"""Download SST-5, Quora and STS-B from the Hugging Face hub."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import huggingface_hub
import numpy as np

from model.checkpoint_files import HUB_SECONDS
from model.errors import InputError, first_line
from trainers.data.raw_rows import RawCorpus, RawSplit, TextColumn
from trainers.tasks import TASKS, Task

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
"""Our name of a split -> the hub's name."""


@dataclass(frozen=True)
class HubSource:
    """The location of a task's rows on the hub."""

    repository: str
    subset: str | None
    text_columns: tuple[str, ...]


HUB_SOURCES = {
    "sst": HubSource("SetFit/sst5", None, ("text",)),
    "qqp": HubSource("nyu-mll/glue", "qqp", ("question1", "question2")),
    "sts": HubSource("nyu-mll/glue", "stsb", ("sentence1", "sentence2")),
}


def read_hub() -> RawCorpus:
    """Read the tasks that the hub has, from the local cache if they were downloaded before. It has no text sets.

    Raises:
        InputError: the tasks can neither be downloaded nor read from the cache.
    """
    loaded = {task: _load(source) for task, source in HUB_SOURCES.items()}
    splits = {
        task: {
            split: raw_split(parts[name], TASKS[task], HUB_SOURCES[task].text_columns, split)
            for split, name in SPLITS.items()
        }
        for task, parts in loaded.items()
    }
    return RawCorpus({task: TASKS[task] for task in loaded}, splits, {})


def raw_split(dataset: "Dataset", task: Task, text_columns: tuple[str, ...], split: str) -> RawSplit:
    """Return the raw rows of a dataset's split; an id consists of task, split and row number.

    Raises:
        InputError: a label is outside the task's range. The label -1 means that the row has no label.
    """
    columns = dataset[:]
    labels = np.array(columns["label"], np.float32)
    labels[labels == -1] = np.nan
    wrong = np.flatnonzero((labels < task.low) | (labels > task.high))
    if len(wrong):
        fault = f"row {wrong[0]} has label {labels[wrong[0]]:g}, outside {task.low:g} to {task.high:g}"
        raise InputError(f"The hub's {split} split of task {task.name}: {fault}. Use the course's files: --data DIR.")
    texts = tuple(TextColumn(text.strip() for text in columns[name]) for name in text_columns)
    return RawSplit(TextColumn(f"{task.name}-{split}-{row}" for row in range(len(labels))), texts, labels)


def _load(source: HubSource) -> "DatasetDict":
    import datasets  # here, because it takes half a second and workers, which import this file, never need it

    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            # Ask the hub first, with a time limit: `load_dataset` tries to reach an unreachable hub for 23 s.
            huggingface_hub.HfApi().dataset_info(source.repository, timeout=HUB_SECONDS)
        return datasets.load_dataset(source.repository, source.subset)
    except Exception as error:  # both clients raise errors of their HTTP libraries, too
        raise InputError(
            f"Cannot download {source.repository} from the hub ({first_line(error)}). Check the connection, set "
            "HF_HUB_OFFLINE=1 to use earlier downloads, or pass --data DIR or --data sample."
        ) from error
