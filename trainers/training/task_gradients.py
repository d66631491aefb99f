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
from trainers.training.table_gradients import Tables

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


def separable(model: Multitask) -> bool:
    """Whether all that reads shared parameters is known here: BERT is, encoders of others and shared layers are not."""
    return isinstance(model.encoder, Bert) and not model.shared


class Watch(TorchFunctionMode):
    """In its `with` block, operations on shared parameters that train leave each task's gradient in an `Apart`."""

    def __init__(self, apart: Apart, inputs: Inputs):
        super().__init__()
        sequences = [0, *accumulate(inputs.sequences.values())]
        tokens = inputs.offsets[sequences].tolist()
        self.apart, self.shared = apart, set(apart.shared)
        self.parts = {
            ends[-1]: [(task, slice(*pair)) for task, pair in zip(inputs.sequences, pairwise(ends), strict=True)]
            for ends in (sequences, tokens)
        }
        """Length of a flat list, of sequences or of tokens -> each task's part of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or what stands for it here."""
        kwargs = kwargs or {}
        if func in OPERATIONS and any(self.wanted(argument) is not None for argument in (*args, *kwargs.values())):
            return OPERATIONS[func](self, *args, **kwargs)
        return func(*args, **kwargs)

    def wanted(self, parameter: Any) -> nn.Parameter | None:
        """Return what was given, if it is a parameter whose gradient is wanted."""
        known = isinstance(parameter, nn.Parameter) and parameter in self.shared
        return parameter if known and parameter.requires_grad else None


class _Linear(torch.autograd.Function):
    """A linear map of a flat list."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, watch: Watch, kept: Any) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.watch, ctx.kept = watch, kept
        return functional.linear(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (gradient,), (values, weight) = grad_outputs, ctx.saved_tensors
        apart, (own_weight, own_bias) = ctx.watch.apart, ctx.kept
        for task, part in ctx.watch.parts[len(values)]:
            apart.add(task, own_weight, gradient[part].T @ values[part])
            apart.add(task, own_bias, gradient[part].sum(0))
        return gradient @ weight if ctx.needs_input_grad[0] else None, None, None, None, None


class _LayerNorm(torch.autograd.Function):
    """A norm of the vectors of a flat list."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, shape: list[int], weight: Tensor, bias: Tensor, eps: float, watch: Watch, kept: Any
    ) -> Tensor:
        normalised, mean, scale = torch.native_layer_norm(values, shape, weight, bias, eps)
        ctx.save_for_backward(values, weight, bias, mean, scale)
        ctx.watch, ctx.kept = watch, kept
        return normalised

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (gradient,), (values, weight, bias, mean, scale) = grad_outputs, ctx.saved_tensors
        apart, parts = ctx.watch.apart, ctx.watch.parts[len(values)]
        wanted = [ctx.needs_input_grad[0], True, True]
        found = []
        for task, part in parts:
            given = gradient[part], values[part], weight.shape, mean[part], scale[part], weight, bias, wanted
            entering, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(*given)
            found.append(entering)
            apart.add(task, ctx.kept[0], of_weight)
            apart.add(task, ctx.kept[1], of_bias)
        return torch.cat(found) if wanted[0] else None, None, None, None, None, None, None


class _Embedding(torch.autograd.Function):
    """Rows of a table, for a flat list of their numbers."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: nn.Parameter, watch: Watch) -> Tensor:
        ctx.rows, ctx.table, ctx.watch = rows, table, watch
        return functional.embedding(rows, table)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[None, None, None]:
        (gradient,), apart = grad_outputs, ctx.watch.apart
        for task, part in ctx.watch.parts[len(ctx.rows)]:
            apart.add_rows(task, ctx.table, ctx.rows[part], gradient[part])
        return None, None, None


def _linear(watch: Watch, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    kept, device = (watch.wanted(weight), watch.wanted(bias)), values.device.type
    if torch.is_autocast_enabled(device):  # which does not reach inside of an autograd function
        reduced = torch.get_autocast_dtype(device)
        values, weight, bias = values.to(reduced), weight.to(reduced), bias.to(reduced)
    return _Linear.apply(values, weight, bias, watch, kept)


def _layer_norm(watch: Watch, values: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _LayerNorm.apply(values, shape, weight, bias, eps, watch, (watch.wanted(weight), watch.wanted(bias)))


def _embedding(watch: Watch, rows: Tensor, table: Tensor, *args: Any, **settings: Any) -> Tensor:
    return _Embedding.apply(rows, table, watch)


OPERATIONS: dict[Any, Callable[..., Tensor]] = {
    functional.linear: _linear,
    functional.layer_norm: _layer_norm,
    functional.embedding: _embedding,
}
