"""Test encoders of the transformers library: settings, input errors, and that BERT does not need the library."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import PreTrainedTokenizerFast

from model import transformers_encoder
from model.errors import InputError
from model.pretrained import read_pretrained
from model.transformers_encoder import TransformersConfig, TransformersEncoder
from tests.model.checkpoints import BERT_NAMES, OTHER_KINDS, SHAPE, wordpiece, write_checkpoint
from tests.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[2]
OTHER_TYPES = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "albert": {"embedding_size": 16},
    "mpnet": {"max_position_embeddings": 66, "pad_token_id": 1},
    "xlm-roberta": {"max_position_embeddings": 66, "pad_token_id": 1, "type_vocab_size": 1},
    "deberta": {"pos_att_type": ["p2c", "c2p"], "relative_attention": True, "type_vocab_size": 0},
}
"""Kinds that need no code of their own."""


def write(directory: Path, model_type: str, **fields: Any) -> Path:
    """Write a checkpoint of another model of transformers, small if its config has the usual field names."""
    fields = SHAPE | {"vocab_size": 303} | fields
    config = transformers.CONFIG_MAPPING[model_type](**fields)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    names = {f"{role}_token": name for role, name in BERT_NAMES.items()}
    PreTrainedTokenizerFast(tokenizer_object=wordpiece(), **names).save_pretrained(directory)
    return directory


def edit_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def read(directory: Path) -> tuple[TransformersConfig, TransformersEncoder]:
    pretrained = read_pretrained(str(directory))
    assert isinstance(pretrained.config, TransformersConfig)
    encoder = TransformersEncoder(pretrained.config)
    encoder.load_state_dict(pretrained.weights)
    return pretrained.config, encoder


@pytest.mark.parametrize("model_type", OTHER_TYPES)
def test_other_masked_language_encoders_need_no_code_of_their_own(model_type: str, tmp_path: Path):
    config, encoder = read(write(tmp_path, model_type, **OTHER_TYPES[model_type]))
    assert (config.width, config.positions, config.vocabulary) == (32, 64, 303)
    placed = [parameter for block in encoder.blocks() for parameter in block]
    assert len(placed) == len(set(placed)) == len(list(encoder.parameters()))


def test_the_pooler_of_a_checkpoint_is_read_under_any_of_its_names(tmp_path: Path):
    write(tmp_path / "albert", "albert", **OTHER_TYPES["albert"])
    albert: Any = transformers.AlbertModel.from_pretrained(tmp_path / "albert")
    assert torch.equal(read(tmp_path / "albert")[1].pooler.weight, albert.pooler.weight)
    roberta: Any = write_checkpoint("roberta", tmp_path / "roberta")
    assert torch.equal(read(tmp_path / "roberta")[1].pooler.weight, roberta.pooler.dense.weight)


@pytest.mark.parametrize("head", ["Model", "ForMaskedLM"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_checkpoint_without_a_pooler_always_gets_the_same_pooler(kind: str, head: str, tmp_path: Path):
    write_checkpoint(kind, tmp_path, head=head)
    _, one = read(tmp_path)
    _, other = read(tmp_path)
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())
    if (kind, head) != ("roberta", "Model"):
        assert abs(one.pooler.weight.std().item() - 0.02) < 0.002 and not one.pooler.bias.any()


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_both_dropout_probabilities_are_set_in_the_model(kind: str, tmp_path: Path):
    write_checkpoint(kind, tmp_path)
    config, _ = read(tmp_path)
    found = {module.p for module in TransformersEncoder(config, 0.2, 0.3).modules() if isinstance(module, nn.Dropout)}
    assert 0.2 in found and found <= {0.2, 0.3}
    model = TransformersEncoder(config, 0.2, 0.3).model.config
    assert {value for name, value in model.to_dict().items() if name in transformers_encoder.ATTENTION_DROPOUT} == {0.3}


@pytest.mark.parametrize(
    ("kind", "name", "block"),
    [
        ("modernbert", "embeddings.norm.weight", 0),
        ("modernbert", "layers.0.attn.Wo.weight", 1),
        ("modernbert", "layers.1.attn.Wo.weight", 2),
        ("modernbert", "final_norm.weight", 3),
        ("deberta-v2", "encoder.rel_embeddings.weight", 0),
        ("electra", "embeddings_project.weight", 0),
    ],
)
def test_modules_outside_the_layers_are_in_the_first_or_last_block(kind: str, name: str, block: int, tmp_path: Path):
    write_checkpoint(kind, tmp_path)
    _, encoder = read(tmp_path)
    weight = encoder.model.get_parameter(name)
    assert [any(weight is own for own in parameters) for parameters in encoder.blocks()].index(True) == block


def test_code_that_a_config_names_is_not_loaded(tmp_path: Path):
    write_checkpoint("roberta", tmp_path)
    expected, _ = read(tmp_path)
    edit_config(tmp_path, auto_map={"AutoModel": "other/repository--code.Model"}, _attn_implementation="some/kernel")
    assert read(tmp_path)[0] == expected


def test_a_slow_tokenizer_is_converted_to_an_equal_fast_tokenizer(tmp_path: Path):
    write_checkpoint("roberta", tmp_path)
    expected = read_pretrained(str(tmp_path)).tokenizer
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in model["merges"]))
    made, read = (
        transformers_encoder.tokenizers.Tokenizer.from_str(text)
        for text in (read_pretrained(str(tmp_path)).tokenizer, expected)
    )
    for pair in [("The film is dull.", "What a film"), ("", "é 3,5 %")]:
        assert made.encode(*pair).ids == read.encode(*pair).ids


def lose(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()


def spoil(directory: Path) -> None:
    lose(directory)
    (directory / "spm.model").write_bytes(b"no sentencepiece model")


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a decoder": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "GPT2Model is not a masked language model"),
    "an encoder and a decoder": (
        "bart",
        {
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
        },
        "BartModel has a decoder",
    ),
    "an encoder turned into a decoder": ("roberta", {"is_decoder": True}, "RobertaModel has a decoder"),
    "no mask of padding": ("fnet", {}, "FNetModel does not take inputs_embeds with an attention_mask"),
    "convolutions over padding": ("convbert", {"embedding_size": 32}, "ConvBertModel depend on padding"),
    "no dropout": ("eurobert", {"num_key_value_heads": 4, "head_dim": 8}, "EuroBertModel has no dropout setting"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unsupported_model_is_an_input_error_with_the_reason(fault: str, tmp_path: Path):
    model_type, fields, message = FAULTS[fault]
    write(tmp_path, model_type, pad_token_id=0, bos_token_id=2, eos_token_id=3, **fields)
    with pytest.raises(InputError, match=message):
        read_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bort"}, "model_type 'bort' is unknown to transformers"),
        ({"model_type": None}, "model_type None is unknown"),
        ({"vocab_size": "many"}, "transformers cannot build an encoder from it: .*vocab_size"),
        ({"hidden_act": "none"}, "transformers cannot build an encoder from it: 'none'"),
        ({"num_hidden_layers": 3}, r"lacks encoder.layer.2.* and 13 more"),
        ({"vocab_size": 302}, r"word_embeddings.weight has shape \[303, 32\], but its config.json says \[302, 32\]"),
    ],
)  # fmt: skip
def test_a_faulty_config_is_an_input_error(changes: dict[str, Any], message: str, tmp_path: Path):
    write_checkpoint("roberta", tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        read_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose, "has neither tokenizer.json nor"),
        (spoil, r"transformers cannot build one from its files.*'\.\[transformers\]'"),
    ],
)
def test_a_checkpoint_without_a_readable_tokenizer_is_an_input_error(damage: Any, message: str, tmp_path: Path):
    write_checkpoint("deberta-v2", tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        read_pretrained(str(tmp_path))


def in_process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS)


def test_only_encoders_other_than_bert_need_transformers(tmp_path: Path):
    write_checkpoint("bert", tmp_path / "bert")
    write_checkpoint("roberta", tmp_path / "roberta")
    code = """
import sys
sys.modules["transformers"] = None  # makes an import fail as if transformers were not installed
from model.encoder import build_encoder
from model.pretrained import read_pretrained
import trainers.training.training
print(build_encoder(read_pretrained(sys.argv[1]), 0.1, 0.1).width)
read_pretrained(sys.argv[2])
"""
    result = in_process(code, str(tmp_path / "bert"), str(tmp_path / "roberta"))
    assert result.stdout == "32\n"
    assert (
        "InputError: Encoders other than BERT need transformers. Install it: pip install '.[transformers]'"
        in result.stderr
    )
