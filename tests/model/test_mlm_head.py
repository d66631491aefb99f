"""Test the MLM head: its logits, and its gradients in the word table."""

import torch
from torch import nn

from model.mlm_head import MaskedLanguageHead


def test_logits_equal_those_computed_by_hand():
    head = MaskedLanguageHead(2, 2, 3, norm_eps=0.0)
    with torch.no_grad():
        head.dense.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        head.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
    word = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    # The dense layer swaps 3 and 1; after GELU the second is larger, and the norm of two numbers gives -1 and 1.
    logits = head(torch.tensor([[3.0, 1.0]]), word)
    torch.testing.assert_close(logits, torch.tensor([[-1.0, 1.0, 5.0]]))


def test_the_gradient_reaches_hidden_states_head_and_word_table():
    torch.manual_seed(0)
    head, word = MaskedLanguageHead(8, 4, 10), nn.Embedding(10, 4)
    hidden = torch.randn(3, 8, requires_grad=True)
    nn.functional.cross_entropy(head(hidden, word.weight), torch.tensor([1, 2, 3])).backward()
    assert hidden.grad is not None and hidden.grad.any()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())
    assert word.weight.grad is not None and word.weight.grad.any(dim=1).all()


def test_no_chosen_token_gives_no_logits():
    assert MaskedLanguageHead(8, 4, 10)(torch.zeros(0, 8), torch.zeros(10, 4)).shape == (0, 10)


def test_dropout_acts_in_training_mode_only():
    torch.manual_seed(0)
    head, hidden, word = MaskedLanguageHead(8, 8, 10, dropout=0.5), torch.randn(4, 8), torch.randn(10, 8)
    assert not torch.equal(head(hidden, word), head(hidden, word))
    head.eval()
    assert torch.equal(head(hidden, word), head(hidden, word))
