"""Build the untrained model of a config: the pretrained encoder, shared layers and a head per task."""

from collections.abc import Mapping

import torch
from torch import nn

from model.encoder import Pretrained, build_encoder, build_mlm_head
from model.heads import PAIR_FEATURES, build_head, build_shared_layer
from model.mlm_head import MaskedLanguageHead
from model.multitask import Multitask
from trainers.config.encodings import appends_cosine, encodings, output_of, pair_features
from trainers.config.train_config import TrainConfig
from trainers.seeds import seed_globally
from trainers.tasks import Task


def build(config: TrainConfig, tasks: Mapping[str, Task], pretrained: Pretrained) -> Multitask:
    """Return the untrained model: the pretrained encoder, and shared layers and heads with weights drawn from the seed.

    Args:
        tasks: at least the tasks of the config, which has passed `check_tasks`.
    """
    low_precision = config.precision == "bfloat16"
    encoder = build_encoder(pretrained, config.dropout, config.attention_dropout, low_precision=low_precision)
    shared, heads = _shared_layers_and_heads(config, tasks, encoder.width)
    mlm = next((stage.mlm for stage in config.stages if stage.objective == "mlm"), None)
    seed_globally(config.seed, "mlm head")
    return Multitask(
        encoder,
        heads,
        encodings=encodings(config, tasks),
        features=pair_features(config, tasks),
        shared=shared,
        pooling=config.pooling,
        mlm_head=build_mlm_head(pretrained, encoder, mlm.head_dropout) if mlm else None,
    )


def model_bytes(config: TrainConfig, tasks: Mapping[str, Task], pretrained: Pretrained) -> int:
    """Return the bytes of a config's weights, at most, without building its encoder; arguments as in `build`."""
    width = pretrained.config.width
    with torch.device("meta"):  # modules without memory
        shared, heads = _shared_layers_and_heads(config, tasks, width)
        modules = nn.ModuleList([*dict.fromkeys(shared.values()), *heads.values()])
        if any(stage.objective == "mlm" for stage in config.stages):
            modules.append(MaskedLanguageHead(width, width, pretrained.config.vocabulary))
    tensors = [*pretrained.weights.values(), *modules.state_dict().values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def rebuilt(model: Multitask, config: TrainConfig, tasks: Mapping[str, Task], pretrained: Pretrained) -> Multitask:
    """Return a model with the dropout rates of a config and the parameters of another model, which are not copied."""
    trained = [parameter.requires_grad for parameter in model.parameters()]
    new = build(config, tasks, pretrained).to(next(model.parameters()).device)
    new.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    for parameter, trains in zip(new.parameters(), trained, strict=True):
        parameter.requires_grad_(trains)
    return new


def _shared_layers_and_heads(
    config: TrainConfig, tasks: Mapping[str, Task], width: int
) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Build the shared layers and the heads, task -> module, on an encoder of the given width."""
    features = pair_features(config, tasks)
    widths = {
        task: PAIR_FEATURES[features[task]].width(width) if task in features else width
        for task in encodings(config, tasks)
    }
    shared = _shared_layers(config, widths, width)
    entering = widths | dict.fromkeys(shared, width)
    return shared, {task: _head(config, tasks[task], entering[task], width) for task in config.tasks}


def _shared_layers(config: TrainConfig, widths: Mapping[str, int], width: int) -> dict[str, nn.Module]:
    """Build the layers that tasks share, with weights drawn from the seed.

    Args:
        widths: task -> width of its features.
        width: width of the encoder, and of the output of the layers.

    Returns:
        Task -> its layer. All tasks of a layer have the same object.
    """
    shared: dict[str, nn.Module] = {}
    for layer in config.shared_layers:
        (entering,) = {widths[task] for task in layer.tasks}
        seed_globally(config.seed, "shared", *layer.tasks)
        module = build_shared_layer(entering, width, activation=layer.activation, dropout=config.head_dropout)
        shared |= dict.fromkeys(layer.tasks, module)
    return shared


def _head(config: TrainConfig, task: Task, features: int, width: int) -> nn.Module:
    head, cosine = config.head_of(task.name), appends_cosine(config, task)
    seed_globally(config.seed, "head", task.name)
    return build_head(
        features + cosine,
        task.outputs,
        low=task.low,
        high=task.high,
        initial_output=task.initial_output,
        dropout=config.head_dropout,
        hidden=tuple(max(1, round(multiple * width)) for multiple in head.hidden),
        activation=head.activation,
        output=output_of(head, task),
        cosine=cosine,
    )
