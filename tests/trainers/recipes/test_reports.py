"""Test the reports' recipes and printed rows against the reports' tables."""

from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import pytest

from trainers.config.architecture import HeadConfig
from trainers.config.train_config import TrainConfig
from trainers.methods.batch_schedules import proportional_sizes
from trainers.methods.smart import SmartConfig
from trainers.recipes.registry import RECIPES, REPORTS, ROWS, configs, recipe
from trainers.recipes.reports.assumptions import ASSUMPTIONS, assumptions
from trainers.recipes.reports.printed_classes import CLASS_TABLES
from trainers.recipes.reports.printed_rows import Row
from trainers.recipes.systems import EnsembleOf, Group, Recipe
from trainers.tasks import TASKS
from trainers.training.step_plan import plan_steps, plan_with_changes

EARLIER_QUORA = {"sst": 8_544, "qqp": 141_506, "sts": 6_040}
"""Rows of reports 001 and 003."""
PRINTED = {"000": (15, 14), "001": (11, 13), "002": (19, 18), "003": (28, 22), "004": (12, 10)}
"""Report -> number of printed rows, number of recipes."""
TRAINED = {"000": 12, "001": 11, "002": 16, "003": 21, "004": 10}
"""Report -> number of different trained systems, without ensembles."""
ROUNDING = 0.0006
"""Largest rounding error of an average of scores with three digits."""
BEYOND_THE_TABLES = [
    *("r000-sep-cosine", "r000-heads-*", "r000-smart-lambda-*"),
    *("r001-rrobin-summed", "r001-sts-linear", "r001-rrobin-rlayer", "r001-smart-lambda-*", "r002-sst-lambda-*"),
    *("r003-cosine-direct", "r003-smart-lambda-1", "r003-smart-lambda-5", "r003-mlm-mask100", "r003-mlm-sst-only"),
    *("r003-mlm-dropout", "r003-mlm-3ep", "r003-mlm-10ep", "r003-mlm-lr2e-5", "r003-mlm-lr3e-5", "r004-rr-qqp"),
]
"""Recipes of systems that the reports tried without printing a row."""


def names(report: str) -> list[str]:
    """Return the names of the recipes in a report's tables."""
    return [name for part in REPORTS for name in part.RECIPES if name.startswith(f"r{report}")]


def trainings(report: str) -> dict[str, TrainConfig]:
    """Return the configs that the recipes of a report's tables train, by name."""
    return {part: config for name in names(report) for part, config in configs(name).items()}


def one(name: str) -> TrainConfig:
    found = recipe(name)
    assert isinstance(found, TrainConfig)
    return found


def as_trained(system: Recipe) -> str:
    """Return a recipe as text, without heads that are scored and not trained."""
    if isinstance(system, Group):
        return str({task: as_trained(config) for task, config in system.members.items()})
    if isinstance(system, TrainConfig) and system.also_scored:
        system = system.replace(also_scored=(), pairs="concatenated", head=HeadConfig())
    return str(system)


def smart_of(config: TrainConfig) -> dict[str, SmartConfig]:
    """Return the SMART settings by task, for tasks with SMART."""
    found = {task: config.smart_of(task) for task in config.tasks}
    return {task: smart for task, smart in found.items() if smart.lambda_s}


def batches(config: TrainConfig, sizes: dict[str, int]) -> dict[int, Counter[str]]:
    """Return the number of batches of each task by stage."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for step in plan_steps(config, sizes):
        counts[step.stage].update(step.rows.keys())
    return counts


# The tables.


@pytest.mark.parametrize("report", PRINTED)
def test_a_report_has_as_many_rows_and_names_as_its_tables(report):
    assert (sum(row.report == report for row in ROWS), len(names(report))) == PRINTED[report]


def test_all_tables_have_85_rows_of_77_names():
    assert (len(ROWS), sum(len(names(report)) for report in PRINTED)) == (85, 77)


@pytest.mark.parametrize("report", PRINTED)
def test_every_recipe_has_a_row_and_every_row_but_one_has_a_recipe(report):
    rows = [row for row in ROWS if row.report == report]
    assert {name for row in rows for name in row.recipes} == set(names(report))
    assert [row.printed for row in rows if not row.recipes] == ["Gradient Surgery + RR"] * (report == "004")


@pytest.mark.parametrize("row", [row for row in ROWS if row.average], ids=lambda row: f"{row.table} {row.printed}")
def test_an_average_follows_its_formula_or_a_note_says_why_not(row: Row):
    assert row.sst is not None and row.qqp is not None and row.sts is not None
    third = {"plain": row.sts, "overall": (row.sts + 1) / 2}[row.formula]
    assert row.average == pytest.approx((row.sst + row.qqp + third) / 3, abs=ROUNDING) or row.note


def test_the_averages_that_do_not_follow_their_formula_are_the_known_six():
    odd = [
        row.recipe
        for row in ROWS
        if row.average and row.sst and row.qqp and row.sts
        for third in [row.sts if row.formula == "plain" else (row.sts + 1) / 2]
        if abs(row.average - (row.sst + row.qqp + third) / 3) > ROUNDING
    ]
    assert sorted(odd) == [
        *("r000-best-single", "r003-baseline", "r003-baseline", "r003-batch-32-4-3"),
        *("r004-smart-vaccine-rr-con", "r004-sst-only"),
    ]


def test_printed_scores_belong_to_the_tasks_that_a_recipe_is_scored_on():
    for row in ROWS:
        for name in row.recipes:
            tasks = {task for config in configs(name).values() for task in config.tasks}
            printed = {task for task in TASKS if getattr(row, task) is not None}
            assert tasks == printed or (row.cfimdb_recipe and tasks < printed), (name, printed)


@pytest.mark.parametrize("table", CLASS_TABLES, ids=lambda table: f"report {table.report}")
def test_printed_metrics_of_classes_are_of_all_classes_of_a_task_of_a_single_model(table):
    task = TASKS[table.task]
    assert table.task in one(table.recipe).tasks and table.recipe.startswith(f"r{table.report}-")
    assert [printed.label for printed in table.classes] == list(range(int(task.low), int(task.high) + 1))
    for printed in table.classes:
        f1 = 2 * printed.precision * printed.recall / (printed.precision + printed.recall)
        assert printed.f1 is None or printed.f1 == pytest.approx(f1, abs=0.01), "two digits are printed"


# Names.


@pytest.mark.parametrize("report", TRAINED)
def test_the_number_of_different_recipes_is_the_number_of_systems_in_the_report(report):
    systems = [RECIPES[name]() for name in names(report)]
    assert len({as_trained(system) for system in systems if not isinstance(system, EnsembleOf)}) == TRAINED[report]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("r002-concat-smart-pretrain-l1-d30", "r002-concat-smart-pretrain"),
        ("r003-batch-40-6-4", "r003-baseline"),
    ],
)
def test_two_names_of_one_system_are_one_config(name, same):
    assert recipe(name) == recipe(same)


@pytest.mark.parametrize(
    ("name", "trained"), [("r001-frozen", "r001-frozen-sst"), ("r001-finetune", "r001-finetune-sst")]
)
def test_a_recipe_scored_on_three_tasks_trains_like_the_recipe_scored_on_its_own_task(name, trained):
    assert one(name).tasks == ("sst", "qqp", "sts")
    assert as_trained(one(name)) == as_trained(one(trained))


def test_systems_without_a_printed_row_have_recipes_too():
    unscored = [name for report in REPORTS for name in report.UNSCORED]
    assert [pattern for pattern in BEYOND_THE_TABLES if not any(fnmatchcase(name, pattern) for name in unscored)] == []
    assert [name for name in unscored if not any(fnmatchcase(name, pattern) for pattern in BEYOND_THE_TABLES)] == []


# Constants, from the reports' tables by hand.


@pytest.mark.parametrize(
    ("report", "dropouts"),
    [
        ("000", {(0.1, 0.3)}),
        ("001", {(0.1, 0.3)}),
        ("002", {(0.1, 0.1), (0.2, 0.2), (0.3, 0.3), (0.4, 0.4), (0.5, 0.5)}),
        ("003", {(0.1, 0.0), (0.1, 0.15)}),
        ("004", {(0.1, 0.3)}),
    ],
)
def test_dropouts_of_encoder_and_heads(report, dropouts):
    found = trainings(report).values()
    assert {(config.dropout, config.head_dropout) for config in found} == dropouts
    assert {config.attention_dropout for config in found} == {0.1}


@pytest.mark.parametrize("report", PRINTED)
def test_the_optimiser_is_the_courses_without_warmup_decay_or_clip(report):
    for config in trainings(report).values():
        settings = config.optimizer
        assert (settings.betas, settings.eps, settings.clip_norm) == ((0.9, 0.999), 1e-6, None)
        assert (settings.warmup, settings.decay, settings.layer_decay) == (0, False, 1)
        assert settings.weight_decay == (1e-6 if report == "000" else 0)


@pytest.mark.parametrize("report", PRINTED)
def test_the_last_stage_has_a_round_per_epoch_and_earlier_stages_have_ten_rounds(report):
    for name, config in trainings(report).items():
        *before, last = config.stages
        assert [stage.rounds for stage in before] == [10] * len(before)
        epochs = 10 if name.startswith("r003-batch") else last.epochs
        assert last.rounds == epochs


def test_no_round_of_a_recipe_with_several_stages_is_much_more_than_a_tenth_of_it():
    """What a kill loses, on the rows of the course; the stages of report 004 have 5 epochs and more."""
    sizes = {"sst": 8_544, "qqp": 283_010, "sts": 6_040, "cfimdb": 1_707, "imdb": 50_000, "snli": 550_152}
    several = [config for report in PRINTED for config in trainings(report).values() if len(config.stages) > 1]
    for config in {config.model_dump_json(): config for config in several}.values():
        _, rounds = plan_with_changes(config, sizes)
        ends = [0, *(round.examples for round in rounds)]
        assert max(end - start for start, end in pairwise(ends)) <= 0.11 * ends[-1]


@pytest.mark.parametrize(
    ("report", "lambdas", "radius", "dropout"),
    [
        ("000", {5}, 1e-6, "off"),
        ("001", {5}, 1e-5, "off"),
        ("002", {1, 5}, 1e-5, "tied"),
        ("003", {2}, 1e-5, "tied"),
        ("004", {1}, 1e-5, "tied"),
    ],
)
def test_recipes_named_smart_and_no_others_have_smart_with_the_published_constants(report, lambdas, radius, dropout):
    found = {name: smart_of(config) for name, config in trainings(report).items()}
    named = {name for name in found if "smart" in name and "smart-rr" not in name}
    assert {name for name, smart in found.items() if smart} == named
    settings = [smart for by_task in found.values() for smart in by_task.values()]
    assert {smart.lambda_s for smart in settings} == lambdas
    rest = {(smart.norm, smart.radius, smart.step_size, smart.noise_scale, smart.ascent_steps) for smart in settings}
    assert rest == {("linf", radius, 1e-3, 1e-5, 1)}
    assert {smart.dropout for smart in settings} == {dropout}


def test_smart_and_bregman_of_report_003_apply_to_sst_only_unless_the_name_says_all():
    for name, config in trainings("003").items():
        assert set(smart_of(config)) == (set(TASKS) - {"cfimdb"} if "all" in name else {"sst"} & set(smart_of(config)))
        assert config.bregman.mu == ({"sst": 1.0} if "bregman" in name else 0)


def test_bregman_comes_with_smart_in_report_001_and_is_off_in_000_002_and_004():
    for report in ("000", "001", "002", "004"):
        for name, config in trainings(report).items():
            assert config.bregman.mu == (1.0 if report == "001" and "smart" in name else 0)
    settings = one("r001-rrobin-smart").bregman
    assert settings.beta == settings.early_beta == 0.995


@pytest.mark.parametrize(
    ("name", "batch", "epochs", "rate", "surgery", "pairs"),
    [
        ("r004-sst-only", 16, 10, 1e-5, "sum", "separate"),
        ("r004-sequential", 16, 5, 1e-5, "sum", "separate"),
        ("r004-individual/qqp", 16, 5, 1e-5, "sum", "separate"),
        ("r004-surgery-con", 16, 10, 1e-5, "pcgrad", "concatenated"),
        ("r004-vaccine-rr", 32, 15, 1e-5, "gradvac", "separate"),
        ("r004-surgery-rr", 16, 15, 1e-5, "pcgrad", "separate"),
        ("r004-surgery-rr-con-hlh", 16, 15, 2e-5, "pcgrad", "concatenated"),
        ("r004-vaccine-rr-con-hlh", 16, 15, 2e-5, "gradvac", "concatenated"),
        ("r004-smart-vaccine-rr-con", 32, 15, 2e-5, "gradvac", "concatenated"),
        ("r004-smart-vaccine-rr-con-hlh", 32, 15, 3e-5, "gradvac", "concatenated"),
    ],
)
def test_recipes_of_report_004_have_its_batch_size_epochs_learning_rate_surgery_and_input(
    name, batch, epochs, rate, surgery, pairs
):
    config = one(name)
    *before, last = config.stages
    assert (last.batch_size, last.epochs, last.learning_rate, last.surgery) == (batch, epochs, rate, surgery)
    assert config.pairs == pairs
    for stage in config.stages:
        assert stage.accumulate == batch / 16
    assert [(stage.tasks, stage.epochs) for stage in before] == [(("qqp",), 5)] * ("smart" in name)
    hidden = [config.head_of(task).hidden for task in ("sst", "qqp", "sts")]
    assert hidden == ([(1,), (1, 0.25), (1, 0.25)] if "hlh" in name else [(), (), ()])


@pytest.mark.parametrize(
    ("name", "schedule", "batch", "update"),
    [
        ("r000-triad-cycle", "cycle", 16, "together"),
        ("r000-triad-mlm-shuffle", "shuffle", 16, "together"),
        ("r000-triad-smart-rr", "smart_round_robin", 16, "together"),
        ("r001-rrobin", "equal", 64, "separate"),
        ("r001-rrobin-smart", "equal", 16, "separate"),
        ("r001-rrobin-pre-smart", "equal", 16, "separate"),
        ("r001-rrobin-full", "interleaved", {"qqp": 64, "sst": 3, "sts": 2}, "separate"),
        ("r001-rrobin-full-smart", "interleaved", {"qqp": 16, "sst": 1, "sts": 1}, "separate"),
        ("r001-rrobin-full-rlayer", "interleaved", {"qqp": 64, "sst": 3, "sts": 2}, "separate"),
        ("r001-rrobin-summed", "equal", 64, "together"),
        ("r001-rrobin-rlayer", "equal", 64, "separate"),
        ("r002-concat-smart-simul", "simultaneous", 8, "together"),
        ("r003-baseline", "simultaneous", {"qqp": 40, "sst": 6, "sts": 4}, "separate"),
        ("r004-sequential", "sequential", 16, "together"),
        ("r004-surgery-con", "equal", 16, "together"),
        ("r004-rr-qqp", "cycle", 16, "together"),
    ],
)
def test_the_joint_stage_has_the_batch_schedule_the_batch_size_and_the_update_of_its_report(
    name, schedule, batch, update
):
    last = one(name).stages[-1]
    assert (last.batch_schedule, last.batch_size, last.update) == (schedule, batch, update)


def test_surgery_is_in_the_recipes_that_the_reports_name():
    found = {name: config.stages[-1].surgery for report in PRINTED for name, config in trainings(report).items()}
    cut = {name for name, surgery in found.items() if surgery != "sum" and not name.startswith("r004")}
    assert cut == {
        *("r000-triad-cycle", "r000-triad-smart-rr", "r000-triad-mlm-cycle", "r000-triad-mlm-smart-rr"),
        "r002-concat-smart-surgery-pretrain",
    }


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("r000-trilogy-mlm-smart/sst", [("mlm", ("imdb",), 1), ("supervised", ("sst",), 10)]),
        ("r000-trilogy-mlm/sts", [("mlm", ("snli",), 1), ("supervised", ("sts",), 10)]),
        ("r000-trilogy-simcse/qqp", [("simcse", ("qqp",), 1), ("supervised", ("qqp",), 10)]),
        ("r000-triad-mlm-cycle", [("mlm", ("imdb", "snli"), 1), ("supervised", ("sst", "qqp", "sts"), 10)]),
        ("r001-rrobin-pre-smart", [("supervised", ("qqp",), 7), ("supervised", ("sst", "qqp", "sts"), 10)]),
        ("r002-concat", [("supervised", ("qqp",), 2), ("supervised", ("sts",), 10), ("supervised", ("sst",), 10)]),
        ("r002-concat-smart-pretrain", [("supervised", ("qqp",), 1), ("supervised", ("sst", "qqp", "sts"), 10)]),
        ("r003-mlm", [("mlm", ("sst", "qqp", "sts"), 5), ("supervised", ("sst", "qqp", "sts"), 10)]),
        ("r003-mlm-sst-only", [("mlm", ("sst",), 5), ("supervised", ("sst", "qqp", "sts"), 10)]),
        ("r003-quora-first", [("supervised", ("qqp",), None), ("supervised", ("sst", "qqp", "sts"), 10)]),
    ],
)
def test_stages_have_the_order_of_the_reports(name, stages):
    assert [(stage.objective, stage.sources, stage.epochs) for stage in one(name).stages] == stages


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("r001-rrobin-full", {"qqp": 64, "sst": 3, "sts": 2}),
        ("r001-rrobin-full-smart", {"qqp": 16, "sst": 1, "sts": 1}),
    ],
)
def test_interleaved_batch_sizes_of_report_001_equal_the_printed_sizes_with_every_edition_of_quora(name, sizes):
    for rows in (13_507, 141_506, 283_010):
        assert one(name).stages[-1].batch_sizes(EARLIER_QUORA | {"qqp": rows}) == sizes
    largest = sizes["qqp"]
    assert proportional_sizes(EARLIER_QUORA, largest) == sizes, "the printed sizes are proportional to the rows"


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *((name, 14_240) for name in names("003") if name.startswith(("r003-baseline", "r003-batch"))),
        ("r001-rrobin", 950),  # the report leaves out STS's last, short batch: 940
        ("r001-rrobin-full", 22_110),
        ("r002-concat-smart-simul", 10_680),
        ("r004-surgery-con", 3_780),
    ],
)
def test_the_joint_stage_has_the_iterations_of_its_report_on_the_reports_data(name, steps):
    (counts,) = batches(one(name), EARLIER_QUORA).values()
    assert set(counts.values()) == {steps}


def test_the_quora_stage_of_report_003_has_as_many_steps_as_fit_its_seconds():
    for rows in (141_506, 283_010):
        first, joint = batches(one("r003-quora-first"), EARLIER_QUORA | {"qqp": rows}).values()
        assert first["qqp"] == pytest.approx(1.15 * joint["qqp"], rel=1e-3)


def test_every_recipe_of_a_report_states_what_it_assumes_and_every_assumption_has_a_recipe():
    reported = [name for report in REPORTS for name in report.RECIPES | report.UNSCORED]
    assert all(assumptions(name) for name in reported)
    assert [each.text for each in ASSUMPTIONS if not any(map(each.holds_for, reported))] == []
    assert assumptions("plain") == assumptions("contrast-base") == []
    texts = [each.text for each in assumptions("r004-individual/sst")]
    assert any("SST is a classification with cross-entropy and STS a regression" in text for text in texts)
    assert {each.quora for each in assumptions("r001-rrobin-full")} == {None, 141_506}


def test_the_quora_stage_of_report_001_has_most_of_the_rows_in_every_epoch():
    first, joint = batches(one("r001-rrobin-pre-smart"), EARLIER_QUORA).values()
    assert first["qqp"] * 16 / 10 == pytest.approx(0.7 * EARLIER_QUORA["qqp"], rel=1e-3)
    assert joint == {"sst": 3_780, "qqp": 3_780, "sts": 3_780}


HEADS: dict[str, dict[str, dict[str, Any]]] = {
    "r000-triad-cycle": {"sst": {"hidden": (1,)}, "qqp": {"hidden": (1,)}, "sts": {"output": "sigmoid"}},
    "r001-rrobin": {"sst": {}, "qqp": {"features": "u_v_difference"}, "sts": {"output": "cosine"}},
    "r001-rrobin-full-rlayer": {"qqp": {"features": "relational"}, "sts": {"features": "relational"}},
    "r001-sts-linear": {"sts": {"features": "u_v_difference", "output": "linear"}},
    "r002-baseline": {"qqp": {"features": "u_v"}, "sts": {"features": "u_v"}},
    "r002-cos-sim": {"qqp": {"features": "u_v_difference"}, "sts": {"output": "cosine"}},
    "r002-concat": {"sst": {"hidden": ()}, "qqp": {"hidden": ()}, "sts": {"hidden": (), "output": "linear"}},
    "r003-baseline": {"sst": {"hidden": (1,)}, "qqp": {"hidden": ()}, "sts": {"hidden": (), "cosine": False}},
    "r003-cosine": {"sst": {"hidden": (1,)}, "qqp": {"cosine": False}, "sts": {"cosine": True}},
    "r003-lr-3e-5": {"sst": {"hidden": (1,)}, "sts": {"hidden": (1,)}},
    "r004-vaccine-rr": {"qqp": {"features": "u_v"}, "sts": {"features": "u_v"}},
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_those_of_the_reports(name):
    config = one(name)
    for task, wanted in HEADS[name].items():
        head = config.head_of(task)
        assert {field: getattr(head, field) for field in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "activation"),
    [("r001-rrobin-rlayer", "leaky_relu"), ("r003-baseline", "relu"), ("r003-mlm-cosine", "relu")],
)
def test_pair_tasks_share_a_layer(name, activation):
    assert [(layer.tasks, layer.activation) for layer in one(name).shared_layers] == [(("qqp", "sts"), activation)]


def test_the_frozen_encoder_of_report_001_stays_frozen_and_its_head_learns_faster():
    for name in ("r001-frozen-sst", "r001-frozen-cfimdb", "r001-frozen"):
        (stage,) = one(name).stages
        assert (stage.trainable_layers, stage.learning_rate, stage.batch_size) == (0, 1e-3, 64)


def test_the_sweep_of_report_003_has_its_learning_rates():
    for digit in range(1, 6):
        (stage,) = one(f"r003-lr-{digit}e-5").stages
        assert stage.learning_rate == pytest.approx(digit * 1e-5)
        assert (stage.tasks, stage.batch_size) == (("sst", "sts"), {"sst": 6, "sts": 4})
