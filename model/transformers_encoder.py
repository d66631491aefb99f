"""Encoders of the transformers library behind the interface of our BERT: flat tokens, padded inside only."""

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from torch import Tensor, nn

from model.errors import InputError, first_line, shortened
from model.precision import in_chosen_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DROPOUT = ("hidden_dropout_prob", "hidden_dropout", "dropout", "embedding_dropout", "mlp_dropout")
"""Names of the dropout of hidden states in public configs; ModernBERT has two of them."""
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
"""Names of the dropout of attention weights in public configs."""
IGNORED_FIELDS = (
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "quantization_config",
)
"""Fields of a public config that could load code or change the arithmetic."""
LAYERS = 1_000
"""Largest number of layers; more would take hours before shapes are compared."""
TOLERANCE = 1e-3
"""Largest allowed difference between two computations of the same hidden states, relative to the largest of them.

Rounding alone makes a difference of 1e-5.
"""


@dataclass(frozen=True)
class TransformersConfig:
    """The sizes of an encoder of the transformers library."""

    public: str
    """The text of the checkpoint's config.json."""
    width: int
    positions: int
    vocabulary: int
    norm_eps: float


class TransformersEncoder(nn.Module):
    """An encoder of the transformers library; methods as in `Bert`.

    The pooler is a dense layer and tanh, as in all these encoders that have a pooler.

    Args:
        dropout: dropout probability of hidden states, wherever the model's config has one.
        attention_dropout: dropout probability of attention weights.
        low_precision: whether the layers multiply matrices in bfloat16.
    """

    def __init__(
        self,
        config: TransformersConfig,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        *,
        low_precision: bool = False,
    ):
        super().__init__()
        self.config, self.low_precision = config, low_precision
        self.width, self.positions = config.width, config.positions
        self.model = _build(config.public, dropout, attention_dropout)
        self.model.pooler = nn.Identity()  # replaced by the pooler below, which takes first tokens only
        self.pooler = nn.Linear(config.width, config.width)
        self.has_segments = getattr(self.model.config, "type_vocab_size", 1) > 1

    @property
    def word(self) -> nn.Embedding:
        """The word embedding table."""
        return _word_table(self.model)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word embeddings [tokens, width of the word table] of `tokens` [tokens]."""
        return self.word(tokens)

    @in_chosen_precision
    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each token, [tokens, width]; `embedded` is [tokens, width of the word table]."""
        hidden, mask = self._run(embedded, offsets, segments)
        return hidden[mask]

    @in_chosen_precision
    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width]."""
        return self._run(embedded, offsets, segments)[0][:, 0]

    def pool(self, first: Tensor) -> Tensor:
        """Return the features [sequences, width] of sequences, from the hidden states of their first tokens."""
        return torch.tanh(self.pooler(first))

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters block by block: the embeddings, each layer from the bottom up, the pooler.

        Modules after the layers, such as a last norm, belong to the pooler's block. All other modules outside the
        layers, such as a table of relative positions, belong to the embeddings' block.
        """
        layers = next(module for module in self.model.modules() if isinstance(module, nn.ModuleList))
        parts = list(self.model.children())
        above = next(place for place, part in enumerate(parts, start=1) if layers in part.modules())
        top = nn.ModuleList([*parts[above:], self.pooler])
        blocks = [list(part.parameters()) for part in (*layers, top)]
        placed = {parameter for block in blocks for parameter in block}
        return [[parameter for parameter in self.parameters() if parameter not in placed], *blocks]

    def _run(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        """Return padded hidden states [sequences, length, width] and a mask [sequences, length], True at tokens."""
        lengths = offsets.diff()  # [sequences]
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(embedded.device)  # [sequences, length]
        types = {"token_type_ids": _pad(segments, lengths)} if self.has_segments else {}
        hidden = self.model(inputs_embeds=_pad(embedded, lengths), attention_mask=mask.long(), **types)[0]
        return hidden, mask


def transformers_config(path: Path, public: dict[str, Any]) -> TransformersConfig:
    """Return the sizes of an encoder of the transformers library.

    Args:
        path: the checkpoint's config.json, for error messages.
        public: the content of that file.

    Raises:
        InputError: transformers is not installed, or the config describes no supported encoder.
    """
    text = json.dumps({name: value for name, value in public.items() if name not in IGNORED_FIELDS})
    kind = public.get("model_type")
    if not isinstance(kind, str) or kind not in _transformers().CONFIG_MAPPING:
        raise _unsupported(path, f"model_type {shortened(kind)} is unknown to transformers")
    for name, value in public.items():
        if "layer" in name and isinstance(value, int) and value > LAYERS:
            raise InputError(f"{path}: {name} is {shortened(value)}, more than {LAYERS:,}. Download it again.")
    try:
        with torch.device("meta"):  # gives the shapes without using memory
            model = _build(text, 0.1, 0.1)
        config = _config_of(model, text)
    except Exception as error:  # transformers raises errors of many classes for a bad config
        raise InputError(
            f"{path}: transformers cannot build an encoder from it: {first_line(error)}. Correct the file."
        ) from error
    if reason := _reason_against(model):
        raise _unsupported(path, f"{type(model).__name__} {reason}")
    return config


def pooler_names(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return public tensors with our name for the pooler, which some models call `pooler.dense`."""
    return {re.sub(r"(^|\.)pooler\.dense\.", r"\1pooler.", name): tensor for name, tensor in public.items()}


def check_encoder(config: TransformersConfig, weights: dict[str, Tensor], name: str) -> None:
    """Check that an encoder's hidden states depend on the word embeddings of the sequence only.

    An encoder whose convolutions read padding fails this check, for example.

    Raises:
        InputError: a sequence has different hidden states when it is computed from its tokens alone, and from its word
            embeddings in a batch with a longer sequence.
    """
    encoder = TransformersEncoder(config).eval()
    encoder.load_state_dict(weights)
    tokens = (config.vocabulary // 2 + torch.arange(12)) % config.vocabulary
    with torch.no_grad():
        alone = encoder.model(input_ids=tokens[None, :3])[0][0]
        hidden = encoder.encode(encoder.embed(tokens), torch.tensor([0, 3, 12]), torch.zeros_like(tokens))
    worst = float((hidden[:3] - alone).abs().max() / alone.abs().max())
    if not worst < TOLERANCE:
        raise InputError(
            f"Encoder {name!r}: hidden states of {type(encoder.model).__name__} depend on padding, or not only on "
            f"word embeddings (difference: {worst:.0%} of the largest hidden state). Pass another encoder."
        )


def convert_tokenizer(directory: Path) -> tokenizers.Tokenizer:
    """Let transformers build a fast tokenizer from the files of a slow tokenizer.

    Raises:
        InputError: transformers cannot build it.
    """
    automatic = _transformers().AutoTokenizer
    try:
        return automatic.from_pretrained(directory, local_files_only=True, trust_remote_code=False).backend_tokenizer
    except Exception as error:  # every converter raises errors of its own classes
        raise InputError(
            f"{directory} has no tokenizer.json, and transformers cannot build one from its files "
            f"({first_line(error)}). Install the needed packages with pip install '.[transformers]', or add the file."
        ) from error


def _transformers() -> ModuleType:
    try:
        import transformers  # here, because it takes seconds and workers with a BERT encoder never need it
    except ImportError:
        raise InputError(
            "Encoders other than BERT need transformers. Install it: pip install '.[transformers]'."
        ) from None
    return transformers


def _build(public: str, dropout: float, attention_dropout: float) -> "PreTrainedModel":
    """Build the model that a public config describes, with drawn weights and the given dropouts."""
    fields, transformers = json.loads(public), _transformers()
    config = transformers.CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    for names, value in ((DROPOUT, dropout), (ATTENTION_DROPOUT, attention_dropout)):
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)
    return transformers.AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _word_table(model: "PreTrainedModel") -> nn.Embedding:
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    return table


def _config_of(model: "PreTrainedModel", public: str) -> TransformersConfig:
    """Return the sizes of a model; `public` is the text of its config."""
    # The position table of RoBERTa starts with rows for padding.
    padding_rows = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None
    ]
    return TransformersConfig(
        public=public,
        width=model.config.hidden_size,
        positions=model.config.max_position_embeddings - sum(padding_rows),
        vocabulary=_word_table(model).num_embeddings,
        norm_eps=next((module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)), 1e-12),
    )


def _reason_against(model: "PreTrainedModel") -> str | None:
    """Return the reason why a model is no supported encoder; None if it is one."""
    if model.config.is_encoder_decoder or getattr(model.config, "is_decoder", False):
        return "has a decoder"
    if type(model.config) not in _transformers().MODEL_FOR_MASKED_LM_MAPPING:
        return "is not a masked language model"
    if not {"inputs_embeds", "attention_mask"} <= inspect.signature(model.forward).parameters.keys():
        return "does not take inputs_embeds with an attention_mask"
    for names in (DROPOUT, ATTENTION_DROPOUT):
        if not any(hasattr(model.config, name) for name in names):
            return f"has no dropout setting: its config has none of {', '.join(names)}"
    return None


def _unsupported(path: Path, found: str) -> InputError:
    return InputError(
        f"{path}: {found}. Pass a checkpoint of BERT, RoBERTa, DeBERTa, ModernBERT, ELECTRA or a similar encoder."
    )


def _pad(flat: Tensor, lengths: Tensor) -> Tensor:
    """Return a flat list [tokens, ...] as [sequences, length, ...], padded with 0."""
    return nn.utils.rnn.pad_sequence(list(flat.split(lengths.tolist())), batch_first=True)
