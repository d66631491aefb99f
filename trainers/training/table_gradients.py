"""Turn the gradient of an embedding table's looked-up rows into a dense gradient for the optimiser.

The word table is half of a small encoder, and a step looks up a few hundred of its rows. In bfloat16 on a CPU, filling
a new dense gradient with zeros takes a tenth of a step; so the zero-filled buffer is reused from step to step.
"""

import torch
from torch import Tensor


class TableGradients:
    """Dense gradients of embedding tables, with one reused buffer per table."""

    def __init__(self):
        self.buffers: dict[Tensor, tuple[Tensor, Tensor]] = {}
        """Table -> its last dense gradient, and the numbers of the rows [rows] that are not 0."""

    def to_dense(self, table: Tensor, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return a dense gradient of the table; it is valid until the next call for the same table.

        The caller may scale the result but not add to it, because the next call clears only the given rows.

        Args:
            table: [table rows, width].
            rows: [rows], numbers of table rows, all different.
            gradient: [rows, width], the gradient of these rows. All other rows have a gradient of 0.
        """
        dense, filled = self.buffers.get(table) or (torch.zeros_like(table), rows[:0])
        dense.index_fill_(0, filled, 0).index_copy_(0, rows, gradient)
        self.buffers[table] = dense, rows
        return dense

    def replace_sparse(self, table: Tensor) -> None:
        """Replace the table's `.grad` by a dense gradient if it is sparse."""
        if table.grad is not None and table.grad.is_sparse:
            summed = table.grad.coalesce()
            table.grad = self.to_dense(table, summed.indices()[0], summed.values())
