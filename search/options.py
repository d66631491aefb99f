"""The options that the commands which train have in common."""

from typing import Annotated, Any

from typer import Option

Data = Annotated[str | None, Option(help="sample (default), hub, or a directory with the course's files.")]
Rows = Annotated[int | None, Option(min=1, help="Training rows of each task, sampled; default all.")]
Encoder = Annotated[str | None, Option(help="minilm (default), minilm:LAYERS, a hub id, or a directory.")]
DevRows = Annotated[int | None, Option(min=1, help="Dev rows a task to score rounds on; default at most 1,200.")]
Concurrency = Annotated[int | None, Option(min=1, help="Trials at once; default as many as fit.")]
Cpus = Annotated[float, Option(min=0.01, help="Each trial has as many threads.")]
Gpus = Annotated[float | None, Option(min=0, help="Default 1 if there is a GPU, else 0.")]
Address = Annotated[str | None, Option(help="A Ray cluster, or auto for the one this machine is in.")]
Storage = Annotated[str, Option(help="The folder, or URI, under which runs lie.")]
Resume = Annotated[bool, Option("--resume", help="Go on with a run that was interrupted.")]


def typed(option: str, value: Any) -> str:
    """Return an option as one would type it: once for each value that it has."""
    return " ".join(f"{option} {one}" for one in (value if isinstance(value, list) else [value]))
