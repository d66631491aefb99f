"""Write small random checkpoints of every kind of encoder, with tokenizers trained on the sample corpus."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from trainers.data.generated_sample import sample_corpus

BERT_NAMES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_NAMES = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
SPECIALS = 5
"""Number of special tokens; they have the lowest ids."""
TOKENS = 300
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}


@cache
def sample_texts() -> list[str]:
    """List the sentences of the sample corpus."""
    splits = chain.from_iterable(splits.values() for splits in sample_corpus().splits.values())
    return sorted({text for split in splits for side in split.texts for text in side})


def train_tokenizer(model: Any, before: Any, trainer: Any, names: dict[str, str], **options: Any) -> Tokenizer:
    """Train a tokenizer on the sample corpus."""
    tokenizer: Any = Tokenizer(model)
    tokenizer.pre_tokenizer = before
    settings = {"vocab_size": TOKENS, "special_tokens": list(names.values()), "show_progress": False}
    tokenizer.train_from_iterator(sample_texts(), trainer(**settings | options))
    return tokenizer


def with_template(tokenizer: Any, pair: str) -> Tokenizer:
    """Make a tokenizer insert [CLS] and [SEP] around sentences."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=pair,
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def wordpiece() -> Tokenizer:
    """Build a tokenizer like those of BERT and ELECTRA."""
    before = pre_tokenizers.BertPreTokenizer()
    made = train_tokenizer(models.WordPiece(unk_token="[UNK]"), before, trainers.WordPieceTrainer, BERT_NAMES)
    return with_template(made, "[CLS] $A [SEP] $B:1 [SEP]:1")


def unigram() -> Tokenizer:
    """Build a tokenizer like that of DeBERTa-v3."""
    made = train_tokenizer(
        models.Unigram(), pre_tokenizers.Metaspace(), trainers.UnigramTrainer, BERT_NAMES, unk_token="[UNK]"
    )
    return with_template(made, "[CLS] $A [SEP] $B:1 [SEP]:1")


def modern() -> Tokenizer:
    """Build a tokenizer like that of ModernBERT."""
    made = train_tokenizer(
        models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), trainers.BpeTrainer, BERT_NAMES
    )
    return with_template(made, "[CLS] $A [SEP] $B [SEP]")


def roberta() -> Tokenizer:
    """Build a tokenizer like that of RoBERTa, which separates the sides of a pair by two tokens."""
    before = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made: Any = train_tokenizer(models.BPE(), before, trainers.BpeTrainer, ROBERTA_NAMES)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


@dataclass(frozen=True)
class Kind:
    """The properties of one kind of checkpoint; all but the size are those of its public checkpoints."""

    model: str
    tokenizer: Callable[[], Tokenizer]
    names: dict[str, str]
    config: dict[str, Any]
    segments: bool = False


KINDS = {
    "bert": Kind("Bert", wordpiece, BERT_NAMES, {}, segments=True),
    "roberta": Kind("Roberta", roberta, ROBERTA_NAMES, {"max_position_embeddings": 66, "type_vocab_size": 1}),
    "deberta-v2": Kind(
        "DebertaV2",
        unigram,
        BERT_NAMES,
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 16,
        },
    ),
    "modernbert": Kind("ModernBert", modern, BERT_NAMES, {"local_attention": 8, "global_attn_every_n_layers": 2}),
    "electra": Kind("Electra", wordpiece, BERT_NAMES, {"embedding_size": 16}, segments=True),
}
OTHER_KINDS = [kind for kind in KINDS if kind != "bert"]


def write_checkpoint(kind: str, directory: Path, *, head: str = "Model", **changed: Any) -> PreTrainedModel:
    """Write a checkpoint of 2 layers and width 32; return the reference model.

    Args:
        kind: a key of `KINDS`.
        head: end of the name of the model's class.
        changed: fields of its config with other values.
    """
    made, tokenizer = KINDS[kind], KINDS[kind].tokenizer()
    numbers = {f"{role}_token_id": tokenizer.token_to_id(name) for role, name in made.names.items()}
    numbers |= {"bos_token_id": numbers["cls_token_id"], "eos_token_id": numbers["sep_token_id"]}
    fields: dict[str, Any] = SHAPE | numbers | {"vocab_size": tokenizer.get_vocab_size() + 3} | made.config | changed
    torch.manual_seed(0)
    reference = getattr(transformers, made.model + head)(transformers.CONFIG_MAPPING[kind](**fields)).eval()
    with torch.no_grad():  # initial biases and norms are equal everywhere, which would hide swapped ones
        for weight in reference.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    reference.save_pretrained(directory)
    names = {f"{role}_token": name for role, name in made.names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(directory)
    return reference
