"""Write a run directory whose tasks are declared by the data, in `tasks.json`."""

from pathlib import Path

from search.runs.run import Run
from tests.search.example_run import ExampleTrial, example_run, tokenizer
from tests.trainers.user_data import USER_TASKS, write_user_data
from trainers.data.prepare import prepare

DECLARED_NAMES = tuple(USER_TASKS)


def declared_run(place: Path, names: tuple[str, ...] = DECLARED_NAMES, **changes: object) -> Run:
    """Write a run directory with one trial of a search on some of the declared tasks.

    Args:
        names: the tasks of the search.
        changes: changed declarations, by the name of the task.
    """
    place.mkdir()
    source = str(write_user_data(place / "data", **changes))
    corpus, _ = prepare(source, tokenizer(), rows=None, seed=0, cache=place)
    return example_run(place / "run", corpus, [ExampleTrial(0, tasks=names, skill=2.0)], tasks=names, data=source)
