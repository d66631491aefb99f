"""Which rows are trained on: samples in the proportions of the labels, the same wherever they are drawn."""

from dataclasses import replace

import numpy as np

from trainers.data.raw_rows import RawCorpus
from trainers.seeds import numpy_generator


def sample_training_rows(raw: RawCorpus, rows: int | None, seed: int) -> RawCorpus:
    """Leave out training rows without a label, and all but `rows` of the others; of text sets all but `rows`."""

    def sample(labels: np.ndarray, name: str) -> np.ndarray:
        return stratified_sample(labels, len(labels) if rows is None else rows, numpy_generator(seed, "rows", name))

    splits = {}
    for task, parts in raw.splits.items():
        labelled = parts["train"].take(np.flatnonzero(~np.isnan(parts["train"].labels)))
        splits[task] = {**parts, "train": labelled.take(sample(labelled.labels, task))}
    texts = {name: found.take(sample(np.zeros(len(found)), name)) for name, found in raw.texts.items()}
    return replace(raw, splits=splits, texts=texts)


def stratified_sample(labels: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Sample `count` rows in the proportions of their rounded labels [rows]; return row numbers, ascending.

    A smaller sample of the same draw lies within a larger one.
    """
    order = draw.permutation(len(labels))
    strata = np.rint(labels[order])
    place = np.empty(len(labels))
    for stratum in np.unique(strata):
        members = strata == stratum
        # Spread each stratum evenly over 0 to 1: what lies below any cut is then in proportion (Sainte-Lague).
        place[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return np.sort(order[np.argsort(place, kind="stable")[:count]])
