"""The training loop of the peer in `benchmarks.whole`: multitask fine-tuning with SMART in plain transformers code."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoTokenizer, BertModel, DataCollatorWithPadding

from trainers.data.raw_rows import RawSplit
from trainers.methods.divergences import DIVERGENCES
from trainers.methods.smart import SmartConfig
from trainers.tasks import TASKS

TOKENS = 512
EVALUATED = 64
"""Number of rows per batch in evaluation."""
SMART = SmartConfig()
"""Radius, step size and noise scale, equal to those of our side."""

Rows = list[dict[str, Any]]
"""Tokenised rows with labels."""


@dataclass(frozen=True)
class Checkpoint:
    """A public BERT checkpoint and the number of its first layers to use."""

    directory: Path
    layers: int


class PeerModel(nn.Module):
    """BERT with one linear head per task on its pooled output."""

    def __init__(self, checkpoint: Checkpoint, dropout: float, means: dict[str, float]):
        super().__init__()
        config = AutoConfig.from_pretrained(checkpoint.directory)
        config.num_hidden_layers, config.hidden_dropout_prob = checkpoint.layers, dropout
        self.bert = BertModel.from_pretrained(checkpoint.directory, config=config)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task: _head(task, config.hidden_size, mean) for task, mean in means.items()})

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the word embeddings [rows, length, width] of a batch."""
        return self.bert.get_input_embeddings()(batch["input_ids"])

    def encode(self, embedded: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return features [rows, width] from word embeddings."""
        mask, segments = batch["attention_mask"], batch["token_type_ids"]
        return self.bert(inputs_embeds=embedded, attention_mask=mask, token_type_ids=segments).pooler_output

    def predict(self, task: str, features: Tensor) -> Tensor:
        """Return outputs [rows, outputs] from features."""
        return self.heads[task](self.dropout(features))

    def forward(self, task: str, embedded: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return outputs [rows, outputs] from word embeddings."""
        return self.predict(task, self.encode(embedded, batch))


def tokenized(checkpoint: Checkpoint, rows: RawSplit) -> Rows:
    """Tokenise rows; pairs are concatenated."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.directory)
    found = tokenizer(*map(list, rows.texts), truncation=True, max_length=TOKENS, return_attention_mask=False)
    return [
        {"input_ids": tokens, "token_type_ids": segments, "label": label}
        for tokens, segments, label in zip(
            found["input_ids"], found["token_type_ids"], rows.labels.tolist(), strict=True
        )
    ]


def batches(rows: Rows, size: int, collate: DataCollatorWithPadding) -> Iterator[dict[str, Tensor]]:
    """Yield random batches, padded to their longest row, epoch after epoch."""
    loader = DataLoader(rows, batch_size=size, shuffle=True, collate_fn=collate)  # pyright: ignore[reportArgumentType]
    while True:
        yield from loader


def loss_of(model: PeerModel, task: str, batch: dict[str, Tensor], lambda_s: float) -> Tensor:
    """Return a batch's loss plus SMART's term with weight `lambda_s`."""
    embedded = model.embed(batch)
    outputs = model(task, embedded, batch)
    return supervised_loss(task, outputs, batch["labels"]) + lambda_s * _smoothness(
        model, task, embedded, outputs, batch
    )


def supervised_loss(task: str, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of outputs [rows, outputs] against labels [rows]."""
    match TASKS[task].kind:
        case "classification":
            return functional.cross_entropy(outputs, labels.long())
        case "binary":
            return functional.binary_cross_entropy_with_logits(outputs[:, 0], labels)
        case "regression":
            return functional.mse_loss(outputs[:, 0], labels)


@torch.inference_mode()
def predict(model: PeerModel, task: str, rows: Rows, collate: DataCollatorWithPadding) -> np.ndarray:
    """Return outputs [rows, outputs] in the order of the rows; rows of similar length share a batch."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
    found = np.empty((len(rows), TASKS[task].outputs), np.float32)
    for start in range(0, len(order), EVALUATED):
        chosen = order[start : start + EVALUATED]
        batch = collate([rows[row] for row in chosen])
        found[chosen] = model(task, model.embed(batch), batch).numpy()
    model.train()
    return found


def _head(task: str, width: int, mean: float) -> nn.Linear:
    head = nn.Linear(width, TASKS[task].outputs)
    if TASKS[task].kind == "regression":  # otherwise squared errors dominate the other tasks for hundreds of steps
        nn.init.constant_(head.bias, mean)
    return head


def _smoothness(model: PeerModel, task: str, embedded: Tensor, clean: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return SMART's smoothness term with one ascent step; every forward pass draws its own dropout masks."""
    divergence = DIVERGENCES[TASKS[task].kind]
    noise = (SMART.noise_scale * torch.randn_like(embedded)).requires_grad_()
    moved = divergence(model(task, embedded.detach() + noise, batch), clean.detach()).mean()
    (gradient,) = torch.autograd.grad(moved, noise)
    worst = noise.detach() + SMART.step_size * functional.normalize(gradient, dim=-1)
    worst = worst * (SMART.radius / worst.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
    return divergence(model(task, embedded + worst, batch), clean).mean()
