"""Count in advance the disk space that a run needs at most, and check that the disk has it."""

from collections.abc import Collection, Mapping

from model.encoder import Pretrained
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.tasks import Task
from trainers.training.build_model import model_bytes
from trainers.training.disk import as_text, check_room, used_bytes
from trainers.training.kept_rounds import Keep, most_rounds, state_bytes, training_bytes

MOST_TRIALS = 1000
"""Number of trials for which space is counted if only a time budget limits a search; more are unlikely to fit."""
FILE_BYTES = 2**12
"""Bytes of a predictions file besides its ids and outputs, at most."""


def largest_model_bytes(configs: Collection[TrainConfig], tasks: Mapping[str, Task], pretrained: Pretrained) -> int:
    """Return the bytes of the weights of the largest model among some configs, at least those of the encoder."""
    return max([model_bytes(config, tasks, pretrained) for config in configs] + [_encoder_bytes(pretrained)])


def check_disk(
    location: Folder,
    configs: Collection[TrainConfig],
    corpus: Corpus,
    pretrained: Pretrained,
    keep: Keep,
    *,
    dev_rows: int,
    unfinished: int,
    trials: int | None,
) -> str:
    """Check that the disk has room for a run; return a line for the user. The size of an object store is not known.

    Args:
        location: the run directory; its present files count as free space.
        configs: examples of the configs that are trained.
        keep: the checkpoints of ended trials that are kept.
        dev_rows: the largest number of dev rows per task that a round predicts.
        unfinished: the largest number of trials that keep full states at the same time.
        trials: the number of all trials; None for `MOST_TRIALS`.

    Raises:
        InputError: the disk has too little room.
    """
    trials = trials or MOST_TRIALS
    weight_bytes = largest_model_bytes(configs, corpus.tasks, pretrained)
    rounds = most_rounds(configs)
    kept, unfinished, stopped = min(keep.count, trials * rounds), min(unfinished, trials), min(keep.states, trials)
    kept_uses = {f"the weights of {kept} rounds": kept * weight_bytes}
    if stopped:
        kept_uses[f"the full states of {stopped} stopped trials"] = stopped * state_bytes(configs, weight_bytes)
    uses = {
        **{f"{use} (--keep)": count for use, count in kept_uses.items()},
        f"the checkpoints of {unfinished} trials at the same time": unfinished
        * training_bytes(configs, weight_bytes, keep),
        "data, encoder, predictions and ensemble": used_bytes(corpus.directory)
        + _encoder_bytes(pretrained)
        + trials * rounds * _prediction_bytes(corpus, dev_rows)
        + weight_bytes,  # a soup
    }
    if location.local:
        check_room(location.local, uses, "Free some space, lower --keep or --concurrency, or pass another --storage.")
    kept_text = " and ".join(f"{use}, {as_text(count)}," for use, count in kept_uses.items())
    return (
        f"The run keeps at most {kept_text} as --keep decides. In all it needs at most {as_text(sum(uses.values()))}."
    )


def _encoder_bytes(pretrained: Pretrained) -> int:
    tensors = [*pretrained.weights.values(), *pretrained.mlm_head.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _prediction_bytes(corpus: Corpus, dev_rows: int) -> int:
    """Return the bytes of a round's predictions of all tasks, at most: ids, their offsets and outputs of 4 bytes."""
    total = 0
    for name, task in corpus.tasks.items():
        ids = corpus.splits[name]["dev"].ids
        longest = max(map(len, ids), default=0)
        total += min(dev_rows, len(ids)) * (longest + 4 + 4 * task.outputs) + FILE_BYTES
    return total
