"""Options that several commands share, and a help text that shows options in groups."""

from typing import Annotated, Any

import typer.core
from typer import Argument, BadParameter, Option

WHAT, HOW_MUCH, WHERE, METHOD, OUTPUT = "What", "How much", "Where", "Method", "Output"
"""Groups of options."""


def from_environment(value: Any) -> Any:
    """Replace `env:NAME` in the values of an option by the value of the environment variable NAME."""
    if isinstance(value, list | tuple):
        return list(map(from_environment, value))
    if value is None or not value.startswith("env:"):
        return value
    from model.errors import InputError  # here, because a command checks the packages first
    from trainers.urls import resolved  # here, because a command checks the packages first

    try:
        return resolved(value)
    except InputError as error:
        raise BadParameter(str(error)) from None


Run = Annotated[
    str,
    Argument(metavar="RUN", callback=from_environment, help="The run: a name in --storage, a path, a URI or env:NAME."),
]
Data = Annotated[
    str | None,
    Option(
        metavar="SOURCE",
        rich_help_panel=WHAT,
        help="The data: sample (generated sentences, the default), hub (SST-5, QQP and STS-B from the Hugging Face "
        "hub), or a directory with the course's files or a tasks.json.",
    ),
]
Rows = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        rich_help_panel=WHAT,
        help="Train on N rows of each task, a random sample stratified by label; by default on all rows.",
    ),
]
Encoder = Annotated[
    str | None,
    Option(
        metavar="ENCODER",
        rich_help_panel=WHAT,
        help="The pretrained encoder: minilm (the default), minilm:N for its first N layers, a Hugging Face hub id "
        "such as bert-base-uncased, or a directory.",
    ),
]
DevRows = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        rich_help_panel=HOW_MUCH,
        help="Score each round on at most N dev rows of each task; by default on at most 1,200, on fewer where "
        "evaluation would take too large a share of the time.",
    ),
]
Keep = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        rich_help_panel=OUTPUT,
        help="Keep the weights of N rounds at most, for the ensemble: in equal shares the best by the score and by "
        "each task's metric. By default ten of each, fewer if their weights took more than 8 GiB. The best N / 3 "
        "trials that were stopped early also keep their full states.",
    ),
]
Concurrency = Annotated[
    int | None,
    Option(min=1, metavar="N", rich_help_panel=WHERE, help="Train N trials at once; by default as many as fit."),
]
Cpus = Annotated[
    float,
    Option(min=0.01, metavar="N", rich_help_panel=WHERE, help="CPUs of each trial; it has as many threads."),
]
Gpus = Annotated[
    float | None,
    Option(
        min=0,
        metavar="N",
        rich_help_panel=WHERE,
        help="GPUs of each trial; 0.5 lets two trials share one GPU. By default 1 if there is a GPU, else 0.",
    ),
]
Address = Annotated[
    str | None,
    Option(
        metavar="HOST:PORT",
        rich_help_panel=WHERE,
        help="Train on a running Ray cluster: the address of its head, or auto for the cluster that this machine "
        "belongs to. By default Ray is started on this machine.",
    ),
]
Out = Annotated[
    str | None,
    Option(
        metavar="DIR",
        rich_help_panel=OUTPUT,
        help="Write into this folder or URI; by default into the run, which must then be writable.",
    ),
]
Storage = Annotated[
    str,
    Option(
        metavar="FOLDER",
        rich_help_panel=OUTPUT,
        callback=from_environment,
        help="The folder that holds the runs: a path, a URI such as s3://BUCKET/runs, or env:NAME for the value of "
        "the environment variable NAME.",
    ),
]
Resume = Annotated[
    bool,
    Option(
        "--resume",
        rich_help_panel=OUTPUT,
        help="Continue the run that --name names, after an interruption or with more --trials.",
    ),
]


class Command(typer.core.TyperCommand):
    """A command whose help shows each group of options under a heading of its own, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options by group; options without a group come last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                group = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                groups.setdefault(group, []).append(record)
        for group in ("Arguments", WHAT, HOW_MUCH, WHERE, METHOD, OUTPUT, "Options"):
            if group in groups:
                with formatter.section(group):
                    formatter.write_dl(groups[group])


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def typed(option: str, value: Any) -> str:
    """Return an option as it is typed on a command line: once for each of its values."""
    return " ".join(f"{option} {each}" for each in (value if isinstance(value, list | tuple) else [value]))
