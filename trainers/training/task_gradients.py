"""Collect each task's own gradient of the shared parameters during one backward pass for all tasks.

The gradient of a linear map's weight is a product over tokens. The tokens of a task lie side by side, so the product is
taken task by task at the cost of one product over all tokens. The gradients of activations are computed for all tasks
together.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from model.bert import Bert
from model.multitask import Inputs, Multitask
from trainers.training.table_gradients import TableGradients

Gradients = list[Tensor | None]
"""Gradients by parameter; None for a parameter that the task does not use."""


class TaskGradients:
    """The gradients of the shared parameters in one step, separately for each task."""

    def __init__(self, shared: Sequence[nn.Parameter], tables: TableGradients):
        self.shared, self.tables = shared, tables
        self.dense: dict[str, dict[nn.Parameter, Tensor]] = defaultdict(dict)
        """Task -> parameter of a linear map or a layer norm -> its gradient."""
        self.lookups: dict[str, dict[nn.Parameter, list[tuple[Tensor, Tensor]]]] = defaultdict(dict)
        """Task -> table -> per lookup, the row numbers [lookups] and their gradients [lookups, width]."""
        self.table_rows: dict[nn.Parameter, Tensor] = {}
        """Table -> the numbers of the rows [rows] that at least one task has looked up."""

    def collect(self, task: str) -> None:
        """Move the `.grad` of the shared parameters to the task, after a backward pass of this task only."""
        for parameter in self.shared:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None and gradient.is_sparse:
                gradient = gradient.coalesce()
                self.add_lookups(task, parameter, gradient.indices()[0], gradient.values())
            elif gradient is not None:
                self.dense[task][parameter] = gradient

    def by_task(self, tasks: Sequence[str]) -> list[Gradients]:
        """Return each task's gradients of the shared parameters; tables have the rows that any task has looked up."""
        assert all(parameter.grad is None for parameter in self.shared), "an operation was not recorded per task"
        found = {task: dict(self.dense[task]) for task in tasks}
        for table in {table for task in tasks for table in self.lookups[task]}:
            for task, gradient in self._table_gradients(table, tasks).items():
                found[task][table] = gradient
        return [[found[task].get(parameter) for parameter in self.shared] for task in tasks]

    def to_dense(self, parameter: nn.Parameter, gradient: Tensor | None) -> Tensor | None:
        """Return the gradient in the parameter's shape: table rows that no task has looked up have a gradient of 0."""
        if gradient is None or parameter not in self.table_rows:
            return gradient
        return self.tables.to_dense(parameter, self.table_rows[parameter], gradient)

    def add(self, task: str, parameter: nn.Parameter | None, gradient: Tensor) -> None:
        """Add to the task's gradient of a parameter; None means that the parameter is not shared or is frozen."""
        if parameter is not None:
            known = self.dense[task].get(parameter)
            self.dense[task][parameter] = gradient.to(parameter.dtype) if known is None else known.add_(gradient)

    def add_lookups(self, task: str, table: nn.Parameter, rows: Tensor, gradient: Tensor) -> None:
        """Add to the task's gradient of a table: row numbers [lookups] and their gradients [lookups, width]."""
        self.lookups[task].setdefault(table, []).append((rows, gradient))

    def _table_gradients(self, table: nn.Parameter, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the gradients [rows, width] of the tasks that looked the table up, for the rows that any looked up."""
        lookups = {task: found for task in tasks if (found := self.lookups[task].get(table))}
        numbers = [torch.cat([rows for rows, _ in found]) for found in lookups.values()]  # by task, [lookups]
        self.table_rows[table], places = torch.cat(numbers).unique(return_inverse=True)
        empty = table.new_zeros(len(self.table_rows[table]), table.shape[1])
        by_task = zip(lookups.items(), places.split([len(rows) for rows in numbers]), strict=True)
        return {
            task: empty.index_add(0, rows, torch.cat([gradient for _, gradient in found]))
            for (task, found), rows in by_task
        }


def separable(model: Multitask) -> bool:
    """Return whether `TaskGradientMode` covers the model.

    Encoders other than BERT, and shared layers, have operations that it does not cover.
    """
    return isinstance(model.encoder, Bert) and not model.shared


class TaskGradientMode(TorchFunctionMode):
    """Record each task's gradients of the shared parameters for operations that run in its `with` block.

    The backward pass then fills the `TaskGradients` and leaves the `.grad` of shared parameters empty.
    """

    def __init__(self, gradients: TaskGradients, inputs: Inputs):
        super().__init__()
        sequences = [0, *accumulate(inputs.sequences.values())]
        tokens = inputs.offsets[sequences].tolist()
        self.gradients, self.shared = gradients, set(gradients.shared)
        self.slices = {
            ends[-1]: [(task, slice(*pair)) for task, pair in zip(inputs.sequences, pairwise(ends), strict=True)]
            for ends in (sequences, tokens)
        }
        """Length of a flat list (all sequences or all tokens) -> each task's slice of the list."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or the function in `OPERATIONS` that replaces it for shared parameters."""
        kwargs = kwargs or {}
        if func in OPERATIONS and any(self.recorded(argument) is not None for argument in (*args, *kwargs.values())):
            return OPERATIONS[func](self, *args, **kwargs)
        return func(*args, **kwargs)

    def recorded(self, argument: Any) -> nn.Parameter | None:
        """Return the argument if it is a shared parameter that is trained, else None."""
        shared = isinstance(argument, nn.Parameter) and argument in self.shared
        return argument if shared and argument.requires_grad else None


class _Linear(torch.autograd.Function):
    """A linear map of a flat list, which records its parameters' gradients per task."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, mode: TaskGradientMode, recorded: Any
    ) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.mode, ctx.recorded = mode, recorded
        return functional.linear(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (gradient,), (values, weight) = grad_outputs, ctx.saved_tensors
        gradients, (own_weight, own_bias) = ctx.mode.gradients, ctx.recorded
        for task, rows in ctx.mode.slices[len(values)]:
            gradients.add(task, own_weight, gradient[rows].T @ values[rows])
            gradients.add(task, own_bias, gradient[rows].sum(0))
        return gradient @ weight if ctx.needs_input_grad[0] else None, None, None, None, None


class _LayerNorm(torch.autograd.Function):
    """A layer norm of the vectors of a flat list, which records its parameters' gradients per task."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        shape: list[int],
        weight: Tensor,
        bias: Tensor,
        eps: float,
        mode: TaskGradientMode,
        recorded: Any,
    ) -> Tensor:
        normalised, mean, scale = torch.native_layer_norm(values, shape, weight, bias, eps)
        ctx.save_for_backward(values, weight, bias, mean, scale)
        ctx.mode, ctx.recorded = mode, recorded
        return normalised

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (gradient,), (values, weight, bias, mean, scale) = grad_outputs, ctx.saved_tensors
        gradients, (own_weight, own_bias) = ctx.mode.gradients, ctx.recorded
        mask = [ctx.needs_input_grad[0], True, True]
        of_values: list[Tensor] = []
        for task, rows in ctx.mode.slices[len(values)]:
            given = gradient[rows], values[rows], weight.shape, mean[rows], scale[rows], weight, bias, mask
            of_rows, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(*given)
            of_values.append(of_rows)
            gradients.add(task, own_weight, of_weight)
            gradients.add(task, own_bias, of_bias)
        return torch.cat(of_values) if mask[0] else None, None, None, None, None, None, None


class _Embedding(torch.autograd.Function):
    """The rows of a table for a flat list of row numbers; it records the table's gradient per task."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: nn.Parameter, mode: TaskGradientMode) -> Tensor:
        ctx.rows, ctx.table, ctx.mode = rows, table, mode
        return functional.embedding(rows, table)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[None, None, None]:
        (gradient,) = grad_outputs
        for task, part in ctx.mode.slices[len(ctx.rows)]:
            ctx.mode.gradients.add_lookups(task, ctx.table, ctx.rows[part], gradient[part])
        return None, None, None


def _linear(mode: TaskGradientMode, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    recorded, device = (mode.recorded(weight), mode.recorded(bias)), values.device.type
    if torch.is_autocast_enabled(device):  # autocast has no effect inside an autograd function
        reduced = torch.get_autocast_dtype(device)
        values, weight, bias = values.to(reduced), weight.to(reduced), bias.to(reduced)
    return _Linear.apply(values, weight, bias, mode, recorded)


def _layer_norm(mode: TaskGradientMode, values: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _LayerNorm.apply(values, shape, weight, bias, eps, mode, (mode.recorded(weight), mode.recorded(bias)))


def _embedding(mode: TaskGradientMode, rows: Tensor, table: Tensor, *args: Any, **settings: Any) -> Tensor:
    return _Embedding.apply(rows, table, mode)


OPERATIONS: dict[Any, Callable[..., Tensor]] = {
    functional.linear: _linear,
    functional.layer_norm: _layer_norm,
    functional.embedding: _embedding,
}
"""Function of torch -> the function that computes the same and records gradients per task."""
