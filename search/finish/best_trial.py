"""The best trial of a searched run, and the ensemble of another run beside it."""

import hashlib
import json

from search.ensemble.estimates import read_estimates
from search.runs.run import Run
from trainers.evaluation.evaluate import dev_rows
from trainers.settings import Config, Measure, Number


class BestTrial(Config):
    """The best trial of a run, and the rows that gave it its score."""

    run: str
    """Name of the run."""
    trial: Number
    score: Measure
    rows: str
    """Digest of the dev rows on which the run scored its rounds."""


def scored_rows(run: Run) -> str:
    """Return a digest of the dev rows on which a run scores its rounds: tasks, ids, labels and tokens."""
    corpus, digest = run.corpus(), hashlib.blake2b(digest_size=16)
    for task in sorted(run.search.tasks):
        split, rows = corpus.splits[task]["dev"], dev_rows(corpus, task, run.search.dev_rows).tolist()
        for row in rows:
            tokens = [side[row].tolist() for side in split.texts]
            digest.update(json.dumps([task, split.ids[row], float(split.labels[row]), tokens]).encode())
    return digest.hexdigest()


def ensemble_beside(run: Run, best: BestTrial) -> str | None:
    """Return a line with the scores of a run's ensemble and of another run's best trial.

    Returns:
        None if the run has no ensemble, or if the two were scored on different dev rows.
    """
    estimates = read_estimates(run)
    if estimates is None or scored_rows(run) != best.rows:
        return None
    ensemble = estimates.score
    return (
        f"Scores on the same dev rows: the ensemble {ensemble.dev.value:.4f} (cross-fitted "
        f"{ensemble.cross_fitted.value:.4f}), the best trial of {best.run} {best.score:.4f} (trial {best.trial})."
    )
