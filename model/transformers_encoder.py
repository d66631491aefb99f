"""Any masked-language encoder of transformers behind minBERT's interface: flat tokens in and out, padded inside."""

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

from model.errors import InputError, first_line
from model.precision import in_chosen_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DROPOUT = ("hidden_dropout_prob", "hidden_dropout", "dropout", "embedding_dropout", "mlp_dropout")
"""What public configs call the dropout of hidden states; ModernBERT has two."""
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
LEFT_OUT = ("auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "quantization_config")
"""Fields of a public config that could bring code or another arithmetic with them."""
TOLERANCE = 1e-3
"""How far hidden states may differ, relative to the largest, between two ways to compute the same; rounding: 1e-5."""


@dataclass(frozen=True)
class TransformersConfig:
    """The shape of an encoder of transformers."""

    public: str
    """The text of its config.json."""
    width: int
    positions: int
    vocabulary: int
    norm_eps: float


class TransformersEncoder(nn.Module):
    """An encoder of transformers; methods as in `Bert`.

    The pooler is dense and tanh, as in all of them that have one.

    Args:
        dropout: of hidden states, wherever the model's own config places it.
        attention_dropout: of attention weights.
        low_precision: whether layers multiply in bfloat16.
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
        self.config, self.width, self.positions, self.low_precision = (
            config,
            config.width,
            config.positions,
            low_precision,
        )
        self.model = _build(config.public, dropout, attention_dropout)
        self.model.pooler = nn.Identity()  # ours takes first tokens alone
        self.pooler = nn.Linear(config.width, config.width)
        self.knows_segments = getattr(self.model.config, "type_vocab_size", 1) > 1

    @property
    def word(self) -> nn.Embedding:
        """The word table."""
        return _word(self.model)

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up the word embeddings alone, [tokens] -> [tokens, width of the word table]."""
        return self.word(tokens)

    @in_chosen_precision
    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Turn word embeddings into hidden states, [tokens, width of the word table] -> [tokens, width]."""
        hidden, mask = self._run(embedded, offsets, segments)
        return hidden[mask]

    @in_chosen_precision
    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width]."""
        return self._run(embedded, offsets, segments)[0][:, 0]

    def pool(self, first: Tensor) -> Tensor:
        """Turn hidden states of first tokens into features of their sequences, [sequences, width] -> the same."""
        return torch.tanh(self.pooler(first))

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters from the bottom up: embeddings, layer after layer, pooler.

        What the model holds behind its layers, a last norm, is the pooler's; all else outside of them, as the table
        of relative positions that all layers read, is the embeddings'.
        """
        layers = next(module for module in self.model.modules() if isinstance(module, nn.ModuleList))
        parts = list(self.model.children())
        above = next(place for place, part in enumerate(parts, start=1) if layers in part.modules())
        top = nn.ModuleList([*parts[above:], self.pooler])
        blocks = [list(part.parameters()) for part in (*layers, top)]
        placed = {parameter for block in blocks for parameter in block}
        return [[parameter for parameter in self.parameters() if parameter not in placed], *blocks]

    def _run(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden states [sequences, length, width], and where they are of tokens [sequences, length]."""
        lengths = offsets.diff()  # [sequences]
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(embedded.device)  # [sequences, length]
        types = {"token_type_ids": _pad(segments, lengths)} if self.knows_segments else {}
        hidden = self.model(inputs_embeds=_pad(embedded, lengths), attention_mask=mask.long(), **types)[0]
        return hidden, mask


def transformers_config(path: Path, public: dict[str, Any]) -> TransformersConfig:
    """Find the shape of an encoder of transformers from what its config.json, at `path`, holds.

    Raises:
        InputError: transformers is not installed, or has no such encoder that fits.
    """
    text = json.dumps({name: value for name, value in public.items() if name not in LEFT_OUT})
    if public.get("model_type") not in _transformers().CONFIG_MAPPING:
        raise _unfit(path, f"model_type {public.get('model_type')!r} is unknown to transformers")
    try:
        with torch.device("meta"):  # shapes without memory
            model = _build(text, 0.1, 0.1)
        shape = _shape(model, text)
    except Exception as error:  # transformers checks a config by errors of many kinds
        raise InputError(f"{path}: transformers makes no encoder of it: {first_line(error)}. Correct it.") from error
    if fault := _fault(model):
        raise _unfit(path, f"{type(model).__name__} {fault}")
    return shape


def add_pooler(public: dict[str, Tensor], config: TransformersConfig) -> dict[str, Tensor]:
    """Give the pooler among public tensors the names of ours; where there is none, draw one, always the same.

    Source of its start: Devlin et al. 2019 (BERT).
    """
    draw = torch.Generator().manual_seed(0)
    drawn = {
        "pooler.weight": 0.02 * torch.randn(config.width, config.width, generator=draw),
        "pooler.bias": torch.zeros(config.width),
    }
    return drawn | {re.sub(r"^pooler\.dense\.", "pooler.", name): tensor for name, tensor in public.items()}


def check(config: TransformersConfig, weights: dict[str, Tensor], name: str) -> None:
    """Refuse an encoder that does not do what its interface promises, as one whose convolutions read padding.

    Raises:
        InputError: a sequence has other hidden states from word embeddings beside a longer one than from its tokens.
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
            f"Encoder {name!r}: hidden states of {type(encoder.model).__name__} depend on padding, or on more than "
            f"word embeddings (by {worst:.0%} of the largest). Give another encoder."
        )


def convert_tokenizer(directory: Path) -> tokenizers.Tokenizer:
    """Have transformers make a fast tokenizer of the files of a slow one.

    Raises:
        InputError: it cannot.
    """
    automatic = _transformers().AutoTokenizer
    try:
        return automatic.from_pretrained(directory, local_files_only=True, trust_remote_code=False).backend_tokenizer
    except Exception as error:  # every converter raises its own
        raise InputError(
            f"{directory} has no tokenizer.json, and transformers makes none of its files ({first_line(error)}). "
            "Install all that it needs, pip install '.[transformers]', or add one."
        ) from error


def _transformers() -> ModuleType:
    try:
        import transformers  # not above: it takes seconds, and the workers of a BERT run never need it
    except ImportError:
        raise InputError(
            "An encoder that is not BERT needs transformers. Install it: pip install '.[transformers]'."
        ) from None
    return transformers


def _build(public: str, dropout: float, attention_dropout: float) -> "PreTrainedModel":
    """Build what a public config describes, with drawn weights and dropouts of ours."""
    fields, transformers = json.loads(public), _transformers()
    config = transformers.CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    for names, value in ((DROPOUT, dropout), (ATTENTION_DROPOUT, attention_dropout)):
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)
    return transformers.AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _word(model: "PreTrainedModel") -> nn.Embedding:
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    return table


def _shape(model: "PreTrainedModel", public: str) -> TransformersConfig:
    # RoBERTa's position table begins with rows for padding.
    reserved = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None
    ]
    return TransformersConfig(
        public=public,
        width=model.config.hidden_size,
        positions=model.config.max_position_embeddings - sum(reserved),
        vocabulary=_word(model).num_embeddings,
        norm_eps=next((module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)), 1e-12),
    )


def _fault(model: "PreTrainedModel") -> str | None:
    """Return why a model cannot be an encoder here, if it cannot."""
    if model.config.is_encoder_decoder or getattr(model.config, "is_decoder", False):
        return "has a decoder"
    if type(model.config) not in _transformers().MODEL_FOR_MASKED_LM_MAPPING:
        return "is no masked language model"
    if not {"inputs_embeds", "attention_mask"} <= inspect.signature(model.forward).parameters.keys():
        return "does not take inputs_embeds with an attention_mask"
    for names in (DROPOUT, ATTENTION_DROPOUT):
        if not any(hasattr(model.config, name) for name in names):
            return f"has no dropout that could be set: none of {', '.join(names)} is in its config"
    return None


def _unfit(path: Path, found: str) -> InputError:
    return InputError(f"{path}: {found}. Give BERT, RoBERTa, DeBERTa, ModernBERT, ELECTRA or another like them.")


def _pad(flat: Tensor, lengths: Tensor) -> Tensor:
    """Turn a flat list [tokens, ...] into [sequences, length, ...], padded with 0."""
    return nn.utils.rnn.pad_sequence(list(flat.split(lengths.tolist())), batch_first=True)
