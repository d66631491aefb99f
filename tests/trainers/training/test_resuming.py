"""Test that a run that is killed within a round and resumed ends with the bits of an uninterrupted run."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import interrupted, outcome, small_config, small_stage
from trainers.config.train_config import Stage, TrainConfig
from trainers.folder import Folder
from trainers.methods.batch_schedules import BATCH_SCHEDULES
from trainers.methods.regularisers import BRANCHES
from trainers.methods.smart import SmartConfig
from trainers.methods.surgery import SURGERIES
from trainers.methods.torchjd_weights import WEIGHTINGS
from trainers.training.rounds import RoundRow
from trainers.trial import read_rows, run_trial

SMOOTH = SmartConfig(lambda_s=1.0)
BREGMAN = {"mu": 1.0, "early_beta": 0.75, "beta": 0.5}
LAYER = ({"tasks": ("qqp", "sts"), "activation": "gelu"},)


def short(**changes: Any) -> Stage:
    """Return a stage of two rounds of two steps; by default every step has a batch of every task."""
    lasting = {} if changes.keys() & {"epochs", "examples"} else {"steps": 4}
    return small_stage(**{"batch_schedule": "cycle", "batch_size": 6, "rounds": 2, **lasting, **changes})


def system(*stages: Stage, **changes: Any) -> TrainConfig:
    return small_config(*(stages or (short(),)), **changes)


SYSTEMS: dict[str, TrainConfig] = {
    "plain": system(),
    "high dropout": system(dropout=0.5, attention_dropout=0.3, head_dropout=0.5),
    "separate pairs, shared layer": system(pairs="separate", shared_layers=LAYER, pooling="mean"),
    "lazy SMART on half of one task": system(smart={"sst": SMOOTH.replace(every=2, share=0.5)}),
    "SMART with another norm": system(smart=SMOOTH.replace(norm="linf", radius=1e-3, step_size=1e-3, ascent_steps=2)),
    "Bregman": system(bregman=BREGMAN),
    "Bregman of one task, SMART of another": system(bregman=BREGMAN | {"mu": {"sst": 1.0}}, smart={"sts": SMOOTH}),
    "R-Drop": system(regularisers={"r_drop": 1.0}),
    "a moving average": system(averaging={"kind": "ema", "beta": 0.9}),
    "an average of the last quarter": system(short(steps=8), averaging={"kind": "swa"}),
    "averaged and regularised": system(
        averaging={"kind": "ema"}, smart=SMOOTH, bregman=BREGMAN, regularisers={"r_drop": 1.0}
    ),
    "accumulation": system(short(accumulate=3), smart=SMOOTH),
    "accumulation with surgery": system(short(accumulate=2, surgery="gradvac"), bregman=BREGMAN),
    "separate updates": system(short(update="separate", steps=7), smart=SMOOTH.replace(every=2)),
    "one and a half epochs": system(short(epochs=1.5, batch_size=20), optimizer={"decay": False, "layer_decay": 0.8}),
    "MLM, then supervised": system(short(objective="mlm", mlm={"head_dropout": 0.1}), short(), bregman=BREGMAN),
    "MLM of one token, accumulated": system(short(objective="mlm", accumulate=2, mlm={"share": "one"}), short()),
    "SimCSE, then supervised": system(short(objective="simcse"), short(), averaging={"kind": "ema"}),
    "MLM on texts": system(
        short(objective="mlm", tasks=("sts",), texts=("imdb",), mlm={"pairs": "concatenated"}), short()
    ),
    "SimCSE on lines of texts": system(
        short(objective="simcse", tasks=(), texts=("snli",), simcse={"supervised": True}), short()
    ),
    "supervised, MLM, supervised": system(short(), short(objective="mlm"), short(), bregman=BREGMAN),
    "frozen, then unfrozen": system(short(trainable_layers=0), short(trainable_layers=1), short(), bregman=BREGMAN),
    "one task, then three": system(short(tasks=("qqp",)), short(batch_size={"sst": 3, "qqp": 7, "sts": 5})),
    "tasks that are only scored": system(short(tasks=("sst",)), also_scored=("qqp", "sts")),
    **{f"SMART, dropout {mode}": system(smart=SMOOTH.replace(dropout=mode)) for mode in BRANCHES},
    **{
        f"schedule {name}": system(short(batch_schedule=name, steps=7), smart={"sst": SMOOTH.replace(every=2)})
        for name in BATCH_SCHEDULES
    },
    **{f"surgery {name}": system(short(surgery=name, steps=5), seed=1) for name in SURGERIES if name not in WEIGHTINGS},
}


class Runs:
    """Run trials on one corpus with one pretrained encoder."""

    def __init__(self, corpus, pretrained):
        self.corpus, self.pretrained = corpus, pretrained

    def rows(self, folder: Folder, config: TrainConfig) -> Iterator[RoundRow]:
        return run_trial(folder, config, self.corpus, self.pretrained, dev_limit=6)

    def whole(self, folder: Folder, config: TrainConfig) -> dict[str, Any]:
        """Train to the end; return the rows, weights and predictions."""
        assert list(self.rows(folder, config))[-1].last
        return outcome(folder)


@pytest.fixture(scope="module")
def runs(corpus, pretrained) -> Runs:
    return Runs(corpus, pretrained)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_killed_in_the_last_round_of_every_stage_ends_with_the_same_bits(name, runs, tmp_path):
    config, folder = SYSTEMS[name], Folder.at(tmp_path / "killed")
    expected = runs.whole(Folder.at(tmp_path / "whole"), config)
    ends = [row.steps for row in expected["rows"]]
    done = 0
    for last in range(1, len(ends), 2):  # the second round of every stage
        with interrupted(ends[last - 1] - done + 1):
            list(runs.rows(folder, config))
        done = ends[last - 1]
    assert len(read_rows(folder)) == len(ends) - 1
    assert runs.whole(folder, config) == expected


MANY_METHODS = system(
    short(rounds=1, steps=1),
    short(objective="mlm", rounds=1, steps=1),
    short(batch_size=4, surgery="gradvac", accumulate=2, rounds=2, steps=5),
    smart=SMOOTH.replace(every=2),
    bregman=BREGMAN,
    averaging={"kind": "ema"},
)


def test_a_run_killed_after_any_step_ends_with_the_same_bits(runs, tmp_path):
    expected = runs.whole(Folder.at(tmp_path / "whole"), MANY_METHODS)
    for step in range(1, expected["rows"][-1].steps + 1):
        folder = Folder.at(tmp_path / str(step))
        with interrupted(step):
            list(runs.rows(folder, MANY_METHODS))
        assert runs.whole(folder, MANY_METHODS) == expected, step
