"""Check a stage of a config against the corpus and the installation."""

from model.errors import InputError
from trainers.config.train_config import Stage
from trainers.data.corpus import Corpus
from trainers.methods.surgery import check_surgery


def check_stage(stage: Stage, index: int, corpus: Corpus) -> None:
    """Check that the corpus and the installation have what a stage needs.

    Args:
        index: number of the stage in its config.

    Raises:
        InputError: a library, a mask token, columns of a text set or the negatives of SimCSE are missing.
    """
    check_surgery(stage.surgery)
    if stage.objective == "mlm" and corpus.special_tokens.mask is None:
        raise InputError(
            "Objective 'mlm' needs a mask token, and the encoder's tokenizer has none. Leave the stage out."
        )
    single = [source for source in stage.sources if len(corpus.sides(source)) == 1]
    if stage.simcse.supervised and single:
        raise InputError(
            f"Supervised simcse needs two or more sentences per line, and text set {single[0]!r} has one sentence per "
            "line. Choose another text set, or set simcse.supervised to false."
        )
    if stage.objective == "simcse":
        _check_negatives(stage, index, corpus)


def _check_negatives(stage: Stage, index: int, corpus: Corpus) -> None:
    """Check that every batch of SimCSE has negatives: other rows, or the third column of a text set."""
    sizes = corpus.train_sizes(stage.sources)
    for source, batch_size in stage.batch_sizes(sizes).items():
        if stage.simcse.supervised and len(corpus.sides(source)) > 2:
            continue
        if sizes[source] == 1:
            raise InputError(
                f"Stage {index} has objective 'simcse', which contrasts rows with each other, and {source} has a "
                f"single training row. Add rows, or take {source} out of the stage."
            )
        if batch_size == 1:
            raise InputError(
                f"Stage {index} has objective 'simcse', which contrasts the rows of a batch, and batches of {source} "
                f"have a single row. Raise stages.{index}.batch_size."
            )
