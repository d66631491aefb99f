"""Test table gradients: the rows of the step, and zeros in all other rows, also in rows of earlier steps."""

import torch
from torch import nn

from trainers.training.table_gradients import TableGradients


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def test_a_dense_gradient_has_nothing_of_earlier_steps():
    tables, table = TableGradients(), nn.Parameter(torch.randn(6, 2))
    tables.to_dense(table, rows(1, 4), torch.ones(2, 2)).mul_(0.5)  # as gradient clipping does
    found = tables.to_dense(table, rows(4, 0), torch.tensor([[2.0, 2.0], [3.0, 3.0]]))
    assert found[:, 0].tolist() == [3, 0, 0, 0, 2, 0]


def test_tables_do_not_share_a_buffer():
    tables, first, second = TableGradients(), nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 2))
    one = tables.to_dense(first, rows(1), torch.ones(1, 2))
    tables.to_dense(second, rows(2), torch.ones(1, 2))
    assert one[:, 0].tolist() == [0, 1, 0]


def test_a_sparse_gradient_is_replaced_by_an_equal_dense_gradient():
    tables, words = TableGradients(), torch.randint(9, (40,))
    sparse, dense = (nn.Embedding(9, 3, sparse=sparse) for sparse in (True, False))
    dense.weight.data = sparse.weight.data
    for _ in range(2):  # words repeat within a forward pass and from step to step
        for table in (sparse, dense):
            table.weight.grad = None
            table(words[:20]).square().sum().backward()
            table(words[20:]).sum().backward()  # a step of two forward passes
            tables.replace_sparse(table.weight)
        torch.testing.assert_close(sparse.weight.grad, dense.weight.grad)
        words = words + 1 - 9 * (words == 8)
