"""Report 003, *SMARTCS: Additional Pretraining and Robust Finetuning on BERT*: its recipes and printed scores.

The systems train all tasks jointly with unequal batch sizes. They add MLM of one token per sequence, SMART on SST only,
Bregman, or a cosine feature.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.bregman import BregmanConfig
from trainers.methods.mlm import MlmConfig
from trainers.recipes.reports.baseline import TASKS, baseline, published_smart
from trainers.recipes.reports.printed_rows import Table
from trainers.recipes.systems import ROUNDS_BEFORE, Recipe

SST_BATCH = 6
RATE = 3e-5
JOINT = Stage(
    tasks=TASKS,
    batch_schedule="simultaneous",
    batch_size={"qqp": 40, "sst": SST_BATCH, "sts": 4},
    update="separate",
    learning_rate=RATE,
    epochs=10,
    rounds=10,
)
"""In the report an epoch is a fixed number of iterations. It gives neither the number nor whether tasks share a step.
We take one pass over SST, 1,424 batches of 6 rows, for all batch sizes, and separate steps."""
MLM = JOINT.replace(objective="mlm", mlm=MlmConfig(share="one"), learning_rate=1e-5, epochs=5, rounds=ROUNDS_BEFORE)
"""One token per sequence, each sentence encoded separately. The report uses "portions" of the training texts without
giving their share; we take all texts."""
# The report gives neither the number of steps nor whether they come once or in each epoch. The row takes twice the
# seconds of the baseline. We take 1.15 times the baseline's 14,240 iterations, once, with batches of 40 rows where the
# baseline has 50.
QUORA = Stage(tasks=("qqp",), batch_size=40, learning_rate=RATE, steps=16_376, rounds=ROUNDS_BEFORE)
# We read "linear followed by ReLU" as a hidden layer: a ReLU on the logits has no gradient for negative logits.
HEADS = {"sst": HeadConfig(hidden=(1,))}
SHARED = (SharedLayer(tasks=("qqp", "sts"), activation="relu"),)

# The default SMART, on all tasks, may have had the first lambda, 1, instead of the selected one.
SMART = published_smart(2.0)
SST_SMART: dict[str, Any] = {"smart": {"sst": SMART}}
# As printed, the teacher is the model at the start of the step, and Bregman has no effect. The report gives neither its
# constants nor its tasks. We take the constants of report 001, on SST only, because the row takes a third of the extra
# seconds that Bregman on all tasks would take.
BREGMAN: dict[str, Any] = {"bregman": BregmanConfig(mu={"sst": 1.0}, beta=0.995, early_beta=0.995)}
COSINE: dict[str, Any] = {"head": HEADS | {"sts": HeadConfig(cosine=True)}}


def system(*stages: Stage, **changes: Any) -> TrainConfig:
    """Return a config with the report's heads, which have no dropout, and a layer that QQP and STS share."""
    return baseline(*stages, **{"head": HEADS, "shared_layers": SHARED, "head_dropout": 0.0, **changes})


def joint(**changes: Any) -> TrainConfig:
    """Train all tasks together."""
    return system(JOINT, **changes)


def mlm_first(**changes: Any) -> TrainConfig:
    """Pretrain further on the tasks' texts, then train all tasks together."""
    return system(MLM, JOINT, **changes)


def learning_rate(rate: float) -> TrainConfig:
    """Train SST and STS, without QQP and SMART, at a given rate. The report chose it before the batch sizes."""
    stage = JOINT.replace(tasks=("sst", "sts"), batch_size={"sst": SST_BATCH, "sts": 4}, learning_rate=rate)
    # With STS as its only task, the shared layer is a hidden layer of STS's head.
    return system(stage, shared_layers=(), head=HeadConfig(hidden=(1,)))


def batches(qqp: int, sst: int, sts: int) -> TrainConfig:
    """Train all tasks together with other batch sizes, for the same number of iterations."""
    sizes = {"qqp": qqp, "sst": sst, "sts": sts}
    return system(JOINT.replace(batch_size=sizes, epochs=10 * sst / SST_BATCH))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "r003-baseline": joint,
    "r003-mlm": mlm_first,
    "r003-cosine": partial(joint, **COSINE),
    "r003-smart-sst": partial(joint, **SST_SMART),
    "r003-smart-sst-bregman": partial(joint, **SST_SMART, **BREGMAN),
    "r003-mlm-smart-sst-bregman": partial(mlm_first, **SST_SMART, **BREGMAN),
    "r003-mlm-cosine": partial(mlm_first, **COSINE),
    "r003-smart-sst-bregman-cosine": partial(joint, **SST_SMART, **BREGMAN, **COSINE),
    "r003-mlm-smart-sst-bregman-cosine": partial(mlm_first, **SST_SMART, **BREGMAN, **COSINE),
    "r003-dropout": partial(joint, head_dropout=0.15),
    "r003-quora-first": partial(system, QUORA, JOINT),
    "r003-smart-all": partial(joint, smart=SMART),
    **{f"r003-lr-{rate}e-5": partial(learning_rate, rate * 1e-5) for rate in (1, 2, 3, 4, 5)},
    "r003-batch-32-4-3": partial(batches, 32, 4, 3),
    "r003-batch-40-4-3": partial(batches, 40, 4, 3),
    "r003-batch-45-4-3": partial(batches, 45, 4, 3),
    "r003-batch-40-6-4": partial(batches, 40, 6, 4),
    "r003-batch-40-8-6": partial(batches, 40, 8, 6),
}


def mlm_changed(**changes: Any) -> TrainConfig:
    """Return `r003-mlm` with changes of its MLM stage."""
    return system(MLM.replace(**changes), JOINT)


def cosine_direct() -> TrainConfig:
    """Predict STS by the cosine alone. QQP's sentences are then encoded separately, too, and no layer is shared."""
    head = HEADS | {"qqp": HeadConfig(hidden=(1,)), "sts": HeadConfig(output="cosine")}
    return joint(pairs="separate", shared_layers=(), head=head)


UNSCORED: dict[str, Callable[[], Recipe]] = {
    "r003-cosine-direct": cosine_direct,
    **{f"r003-smart-lambda-{value}": partial(joint, smart=SMART.replace(lambda_s=value)) for value in (1, 5)},
    "r003-mlm-mask100": partial(mlm_changed, mlm=MLM.mlm.replace(always_mask=True)),
    "r003-mlm-sst-only": partial(mlm_changed, tasks=("sst",), batch_size=SST_BATCH, update="together"),
    # The report does not give this dropout; we take the dropout of the row with dropout in the heads.
    "r003-mlm-dropout": partial(mlm_changed, mlm=MLM.mlm.replace(head_dropout=0.15)),
    "r003-mlm-3ep": partial(mlm_changed, epochs=3),
    "r003-mlm-10ep": partial(mlm_changed, epochs=10),
    "r003-mlm-lr2e-5": partial(mlm_changed, learning_rate=2e-5),
    "r003-mlm-lr3e-5": partial(mlm_changed, learning_rate=3e-5),
}

MISADDED = "its scores give an overall score of .769"
_FIG_2 = Table("003", "Fig 2", formula="overall")
_FIG_3 = Table("003", "Fig 3", split="test", formula="overall")
_FIG_6 = Table("003", "Fig 6")
_FIG_7 = Table("003", "Fig 7", formula="overall")
_FIG_7_PLAIN = Table("003", "Fig 7", formula="plain")
_FIG_8 = Table("003", "Fig 8", formula="overall")

ROWS = [
    _FIG_2.row("r003-baseline", "Baseline", 0.480, 0.887, 0.882, 0.764, note=MISADDED, hours=4.5),
    _FIG_2.row("r003-mlm", "Pretrain", 0.485, 0.859, 0.870, 0.760, hours=3.934),
    _FIG_2.row("r003-cosine", "Cosine Similarity", 0.478, 0.866, 0.879, 0.761, hours=4.01),
    _FIG_2.row("r003-smart-sst", "SMART Loss", 0.509, 0.864, 0.866, 0.769, hours=5.0),
    _FIG_2.row(
        *("r003-smart-sst-bregman", "SMART Loss, Bregman Only", 0.494, 0.879, 0.876, 0.770),
        note="the scores equal SMART-SST Loss + Bregman in Fig 8",
        hours=5.389,
    ),
    _FIG_2.row("r003-mlm-smart-sst-bregman", "Pretrain, SMART Loss, Bregman", 0.512, 0.859, 0.858, 0.767, hours=4.572),
    _FIG_2.row("r003-mlm-cosine", "Pretrain, Cosine Similarity", 0.472, 0.856, 0.864, 0.753, hours=4.384),
    _FIG_2.row(
        "r003-smart-sst-bregman-cosine",
        "SMART Loss, Bregman, Cosine Similarity",
        0.487,
        0.863,
        0.872,
        0.762,
        hours=4.932,
    ),
    _FIG_2.row(
        *("r003-mlm-smart-sst-bregman-cosine", "Pretrain, SMART Loss, Bregman, Cosine Similarity"),
        *(0.478, 0.862, 0.867, 0.758),
        hours=5.034,
    ),
    _FIG_3.row("r003-smart-sst", "SMART Loss", 0.501, 0.862, 0.863, 0.765),
    _FIG_3.row("r003-smart-sst-bregman", "SMART Loss, Bregman", 0.493, 0.878, 0.878, 0.770),
    _FIG_3.row("r003-mlm-smart-sst-bregman", "Pretrain, SMART Loss, Bregman", 0.511, 0.855, 0.858, 0.765),
    _FIG_6.row("r003-lr-1e-5", "1e-5", 0.474, None, 0.868),
    _FIG_6.row("r003-lr-2e-5", "2e-5", 0.459, None, 0.879),
    _FIG_6.row("r003-lr-3e-5", "3e-5", 0.498, None, 0.877),
    _FIG_6.row("r003-lr-4e-5", "4e-5", 0.489, None, 0.871),
    _FIG_6.row("r003-lr-5e-5", "5e-5", 0.486, None, 0.874),
    _FIG_7.row("r003-batch-32-4-3", "32/4/3", 0.262, 0.625, 0.314, 0.514, note="a collapsed run: always class 1"),
    _FIG_7.row("r003-batch-40-4-3", "40/4/3", 0.443, 0.833, 0.854, 0.734),
    _FIG_7_PLAIN.row("r003-batch-45-4-3", "45/4/3", 0.478, 0.842, 0.853, 0.724, note="plain; overall it is .749"),
    _FIG_7.row("r003-batch-40-6-4", "40/6/4", 0.487, 0.848, 0.866, 0.756, note="another run of the baseline"),
    _FIG_7.row("r003-batch-40-8-6", "40/8/6", 0.438, 0.873, 0.871, 0.749),
    _FIG_8.row("r003-baseline", "Baseline", 0.480, 0.887, 0.882, 0.764, note=MISADDED, epoch_seconds=1620),
    _FIG_8.row("r003-dropout", "Dropout Baseline", 0.480, 0.861, 0.867, 0.758, epoch_seconds=1620),
    _FIG_8.row("r003-quora-first", "Stickland Baseline", 0.494, 0.883, 0.861, 0.769, epoch_seconds=3200),
    _FIG_8.row("r003-smart-all", "SMART Loss Default", 0.515, 0.828, 0.867, 0.759, epoch_seconds=1800),
    _FIG_8.row("r003-smart-sst", "SMART-SST Loss", 0.509, 0.864, 0.866, 0.769, epoch_seconds=1800),
    _FIG_8.row("r003-smart-sst-bregman", "SMART-SST Loss + Bregman", 0.494, 0.879, 0.876, 0.770, epoch_seconds=1940),
]
