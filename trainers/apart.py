"""The tasks' gradients of what they share, apart from each other: kept while they are found, then one list a task."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.tables import Tables

Gradients = list[Tensor | None]
"""By parameter; None where a task does not use it."""


class Apart:
    """The tasks' gradients of shared parameters, of one step."""

    def __init__(self, shared: Sequence[nn.Parameter], tables: Tables):
        self.shared, self.tables = shared, tables
        self.summed: dict[str, dict[nn.Parameter, Tensor]] = defaultdict(dict)
        """Task -> parameter of a linear map or a norm -> its gradient."""
        self.looked_up: dict[str, dict[nn.Parameter, list[tuple[Tensor, Tensor]]]] = defaultdict(dict)
        """Task -> table -> of each pass, the rows [places] and their gradients [places, width]."""
        self.touched: dict[nn.Parameter, Tensor] = {}
        """Table -> the rows [rows] that any task has looked up."""

    def take(self, task: str) -> None:
        """Take the gradients that a backward pass of one task alone has left in the parameters."""
        for parameter in self.shared:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None and gradient.is_sparse:
                gradient = gradient.coalesce()
                self.add_rows(task, parameter, gradient.indices()[0], gradient.values())
            elif gradient is not None:
                self.summed[task][parameter] = gradient

    def gradients(self, tasks: Sequence[str]) -> list[Gradients]:
        """Return every task's gradients of the shared parameters; of a table's rows, those that any has looked up."""
        assert all(parameter.grad is None for parameter in self.shared), "read by an operation that is not watched"
        found = {task: dict(self.summed[task]) for task in tasks}
        for table in {table for task in tasks for table in self.looked_up[task]}:
            for task, gradient in self._touched_rows(table, tasks).items():
                found[task][table] = gradient
        return [[found[task].get(parameter) for parameter in self.shared] for task in tasks]

    def spread(self, parameter: nn.Parameter, gradient: Tensor | None) -> Tensor | None:
        """Return a gradient of the parameter's shape: the rows of a table that no task has touched are 0."""
        if gradient is None or parameter not in self.touched:
            return gradient
        return self.tables.spread(parameter, self.touched[parameter], gradient)

    def add(self, task: str, parameter: nn.Parameter | None, gradient: Tensor) -> None:
        """Add to a task's gradient, of a parameter that is shared."""
        if parameter is not None:
            known = self.summed[task].get(parameter)
            self.summed[task][parameter] = gradient.to(parameter.dtype) if known is None else known.add_(gradient)

    def add_rows(self, task: str, table: nn.Parameter, rows: Tensor, gradient: Tensor) -> None:
        """Add to a task's gradient of a table: that [places, width] of the rows [places] that a pass has read."""
        self.looked_up[task].setdefault(table, []).append((rows, gradient))

    def _touched_rows(self, table: nn.Parameter, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the gradient [rows, width] of each task that has looked a table up, of the rows that any has."""
        passes = {task: found for task in tasks if (found := self.looked_up[task].get(table))}
        places = [torch.cat([rows for rows, _ in found]) for found in passes.values()]  # by task, [places]
        self.touched[table], rows = torch.cat(places).unique(return_inverse=True)
        empty = table.new_zeros(len(self.touched[table]), table.shape[1])
        parts = zip(passes.items(), rows.split([len(found) for found in places]), strict=True)
        return {task: empty.index_add(0, part, torch.cat([each for _, each in found])) for (task, found), part in parts}
