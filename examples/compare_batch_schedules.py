"""Train one recipe with several batch schedules, each in its own trial directory, and compare their best scores."""

from pathlib import Path

import pandas
import typer

from model.pretrained import read_pretrained
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder
from trainers.recipes.joint import plain
from trainers.trial import run_trial


def main(encoder: str = "minilm", rows: int = 128, out: Path = Path("runs/schedules")) -> None:
    """Train with three batch schedules. After an interruption, run it again: finished rounds are not repeated."""
    pretrained = read_pretrained(encoder)
    directory, _ = prepare("sample", pretrained.tokenizer, rows=rows, seed=0)
    corpus = Corpus.open(directory)
    found = []
    for batch_schedule in ("smart_round_robin", "shuffle", "cycle"):
        stage = plain().stages[0].replace(batch_schedule=batch_schedule)
        config = plain().replace(stages=(stage,), encoder=encoder)
        for row in run_trial(Folder.at(out / batch_schedule), config, corpus, pretrained, dev_limit=rows):
            found.append({"batch_schedule": batch_schedule, "round": row.round, "score": row.score, **row.metrics})
    table = pandas.DataFrame(found).pivot_table(index="batch_schedule", aggfunc="max")
    print(table[["score", "sst", "qqp", "sts"]].round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
