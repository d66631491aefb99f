"""Train one model in a Python loop, without Ray: a recipe, a corpus, and an iterator over rounds."""

import typer

from model.pretrained import read_pretrained
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.recipes.joint import plain
from trainers.training.training import Training


def main(encoder: str = "minilm", rows: int = 128) -> None:
    """Train the recipe `plain` on the generated sample, and stop early if a round is worse than the one before."""
    pretrained = read_pretrained(encoder)
    directory, _ = prepare("sample", pretrained.tokenizer, rows=rows, seed=0)
    config = plain().replace(encoder=encoder)
    before = 0.0
    for result in Training(config, Corpus.open(directory), pretrained):
        metrics = ", ".join(f"{task} {value:.3f}" for task, value in result.metrics.items())
        score = result.score or 0.0  # a round has no score before every task has been trained
        print(f"round {result.round}: score {score:.3f} ({metrics}), {result.train_seconds:.1f} s")
        if score < before:  # leaving the loop ends the training
            break
        before = score


if __name__ == "__main__":
    typer.run(main)
