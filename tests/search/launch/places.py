"""Write small spaces, data and run directories for the tests of the search command."""

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from search.launch.__main__ import app
from search.launch.run_search import prepare_search
from search.runs.search_record import RequestedSettings
from search.tune.slots import Slots
from trainers.folder import Folder

NAME = "run"
HEADER = "id\tsentence\tsentiment\n"
SST = HEADER + "".join(f"{row}\tFilm {row} is fine .\t{row % 5}\n" for row in range(8))
SST_SPACE = """
from trainers.config import Stage, TrainConfig

def suggest(trial):
    dropout = trial.suggest_float("dropout", 0, 0.5)
    return TrainConfig(dropout=dropout, stages=(Stage(tasks=("sst",), steps=2),))
"""


@dataclass(frozen=True)
class Place:
    """The files that a search reads, and the folder of its run."""

    space: Path
    encoder: Path
    storage: Path

    def options(self, **changed: object) -> list[str]:
        """Return a command line with changed options; if an option occurs twice, the later value counts."""
        options = {"name": NAME, "storage": self.storage, "encoder": self.encoder}
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in (options | changed).items()]
        return [str(self.space), *(word for pair in pairs for word in pair)]

    def data(self, train: bytes) -> list[str]:
        """Write files of SST with the given training rows; return a command line that reads them."""
        directory = self.storage.parent / "data"
        directory.mkdir()
        (directory / "ids-sst-train.csv").write_bytes(train)
        (directory / "ids-sst-dev.csv").write_text(SST.replace("\tFilm", "d\tFilm"))
        return self.options(data=directory)

    def prepared(self, **changed: object) -> Path:
        """Create the directory of a run that has not been trained."""
        requested = RequestedSettings(encoder=str(self.encoder)).replace(**changed)
        prepare_search(Folder.at(self.storage) / NAME, self.space, requested, False, Slots(1, 1, 0))
        return self.storage / NAME


def launch(arguments: list[str]) -> Result:
    """Run the search command in this process."""
    return CliRunner().invoke(app, arguments)
