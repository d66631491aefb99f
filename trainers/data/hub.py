"""SST-5, Quora and STS-B of the Hugging Face hub -> raw rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import huggingface_hub
import numpy as np

from model.errors import InputError
from trainers.data.raw_rows import RawCorpus, RawSplit
from trainers.tasks import TASKS, Task

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

HUB_SECONDS = 5
"""How long the hub may take to answer before it counts as unreachable."""
SPLITS = {"train": "train", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class HubSource:
    """Where the rows of a task lie on the hub."""

    repository: str
    subset: str | None
    text_columns: tuple[str, ...]


HUB_SOURCES = {
    "sst": HubSource("SetFit/sst5", None, ("text",)),
    "qqp": HubSource("nyu-mll/glue", "qqp", ("question1", "question2")),
    "sts": HubSource("nyu-mll/glue", "stsb", ("sentence1", "sentence2")),
}


def read_hub() -> RawCorpus:
    """Download the tasks that the hub has, or find them downloaded; it has no text sets.

    Raises:
        InputError: the hub does not give them.
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
    """Turn a split of a hub's dataset into raw rows; ids are made of the split and the row's number.

    Raises:
        InputError: a label is outside the task's range; -1 means none.
    """
    columns = dataset[:]
    labels = np.array(columns["label"], np.float32)
    labels[labels == -1] = np.nan
    wrong = np.flatnonzero((labels < task.low) | (labels > task.high))
    if len(wrong):
        fault = f"row {wrong[0]} has label {labels[wrong[0]]:g}, outside {task.low:g} to {task.high:g}"
        raise InputError(f"The hub's {split} split of task {task.name}: {fault}. Use the course's files: --data DIR.")
    texts = tuple([text.strip() for text in columns[name]] for name in text_columns)
    return RawSplit([f"{task.name}-{split}-{row}" for row in range(len(labels))], texts, labels)


def _load(source: HubSource) -> "DatasetDict":
    import datasets  # here: it takes half a second, and workers, which import this file, never need it

    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            # Asked first, and with a limit: `load_dataset` tries an unreachable hub for 23 s.
            huggingface_hub.HfApi().dataset_info(source.repository, timeout=HUB_SECONDS)
        return datasets.load_dataset(source.repository, source.subset)
    except Exception as error:  # the clients let the errors of their HTTP libraries through
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"The hub does not give {source.repository} ({reason}). Check the connection, set HF_HUB_OFFLINE=1 to use "
            "what was downloaded before, or pass --data DIR or --data sample."
        ) from error
