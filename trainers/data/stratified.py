"""Sample training rows, stratified by label and reproducible on every machine."""

from dataclasses import replace

import numpy as np

from trainers.data.raw_rows import RawCorpus
from trainers.seeds import numpy_generator


def sample_training_rows(raw: RawCorpus, rows: int | None, seed: int) -> RawCorpus:
    """Return a corpus with at most `rows` labelled training rows per task and rows per text set; None for all."""

    def chosen(labels: np.ndarray, name: str) -> np.ndarray:
        kept = np.flatnonzero(~np.isnan(labels))
        count = len(kept) if rows is None else rows
        return kept[stratified_sample(labels[kept], count, numpy_generator(seed, "rows", name))]

    splits = {
        task: {**parts, "train": parts["train"].take(chosen(parts["train"].labels, task))}
        for task, parts in raw.splits.items()
    }
    texts = {name: text_set.take(chosen(np.zeros(len(text_set)), name)) for name, text_set in raw.texts.items()}
    return replace(raw, splits=splits, texts=texts)


def stratified_sample(labels: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Return the ascending numbers of `count` rows, sampled in proportion to their rounded labels [rows].

    With the same generator state, a smaller sample is a subset of a larger one.
    """
    order = draw.permutation(len(labels))
    strata = np.rint(labels[order])
    position = np.empty(len(labels))
    for stratum in np.unique(strata):
        members = strata == stratum
        # Spread each stratum evenly over 0 to 1. Then the rows below any threshold are in proportion (Sainte-Lague).
        position[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return np.sort(order[np.argsort(position, kind="stable")[:count]])
