"""How fast training is on a GPU, how near to what the card multiplies, and what trials that share it reach together.

`python -m benchmarks.gpu --data DIR` takes some minutes, prints a table for each question and writes gpu.json. It
needs neither Ray nor a network. BERT-base has random weights here: speed does not depend on them.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import rich
import torch
import typer
from rich.table import Table

from benchmarks.pace import Pace, alternate
from benchmarks.train_loops import Work, config_of, products_loop, training_loop
from benchmarks.train_processes import READY, side_by_side, tokens_per_second
from model.bert import Bert, BertConfig
from model.encoder import Pretrained
from model.errors import InputError
from trainers.command_line import command
from trainers.data.corpus import Corpus
from trainers.devices import limit_gpu_memory
from trainers.methods.bregman import BregmanConfig
from trainers.methods.smart import SmartConfig

BASE = BertConfig(width=768, layers=12, heads=12, feed_forward=3072)
FILLING = 128
"""Rows a task that fill the card: about 11,000 tokens a step."""
BLOCK = 16384
"""Tokens of a product that is timed."""
SHARING = (1, 2, 4, 8)
SECONDS = 10.0
"""Of the trials that share the card."""
MEBIBYTE = 2**20
PRECISION: dict[str, Any] = {"precision": "bfloat16"}
ADDED: dict[str, dict[str, Any]] = {
    "plain, float32": {"precision": "float32"},
    "plain": {},
    "no dropout of attention": {"attention_dropout": 0.0},
    "PCGrad": {"surgery": "pcgrad"},
    "SMART": {"smart": SmartConfig(lambda_s=1.0)},
    "SMART, PCGrad": {"smart": SmartConfig(lambda_s=1.0), "surgery": "pcgrad"},
    "SMART, Bregman": {"smart": SmartConfig(lambda_s=1.0), "bregman": BregmanConfig(mu=1.0)},
}


def sized(pretrained: Pretrained, name: str) -> Pretrained:
    """Return the encoder, or one of BERT-base's size with random weights and its tokenizer."""
    if name == "minilm":
        return pretrained
    assert isinstance(pretrained.config, BertConfig)
    shape = replace(BASE, vocabulary=pretrained.config.vocabulary)
    return replace(pretrained, config=shape, weights=Bert(shape).state_dict(), mlm_head={})


def race(given: tuple[Corpus, Pretrained], rows: int, steps: int) -> dict[str, dict[str, float]]:
    """Train in every way, a step of each in turn; beside them a loop of the products alone."""
    shape = given[1].config
    assert isinstance(shape, BertConfig)
    loops = {"products": products_loop(shape, backward=True, tokens=BLOCK, device="cuda", dtype=torch.bfloat16)}
    held = {"products": 0.0}
    for name, changes in ADDED.items():
        loops[name] = training_loop(given, config_of(rows, **PRECISION | changes), "cuda")
        loops[name]()  # the optimiser's moments come with the first step
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loops[name]()
        held[name] = (torch.cuda.max_memory_allocated() - before) / MEBIBYTE
    paces = alternate(loops, steps, torch.cuda.synchronize)
    return {name: _figures(pace, paces, held[name]) for name, pace in paces.items()}


def together(work: Work, count: int) -> float:
    """Train several trials on the one card at once; return their tokens a second in sum."""
    begin = time.time() + READY + 5 * count  # each process takes seconds to reach the card
    return sum(side_by_side(sharing, [(work, count, begin)] * count))


def sharing(work: Work, count: int, begin: float) -> float:
    """Train one of several trials; return its tokens a second."""
    limit_gpu_memory(1 / count)
    return tokens_per_second(work, config_of(**PRECISION), SECONDS, begin, "cuda")


def _figures(pace: Pace, paces: dict[str, Pace], held: float) -> dict[str, float]:
    return {
        "tokens_per_second": pace.rate,
        "share": pace.faster(paces["products"]),
        "times_plain": pace.times(paces["plain"]),
        "mebibytes": held,
    }


def main(
    data: Annotated[Path, typer.Option(help="A directory with the course's files.")],
    rows: Annotated[int, typer.Option(min=512, help="Training rows of each task.")] = 4000,
    steps: Annotated[int, typer.Option(min=3, help="Of each loop that is compared.")] = 20,
    out: Annotated[Path, typer.Option(help="For the figures.")] = Path("gpu.json"),
) -> None:
    """Measure minilm and BERT-base's size, then trials that share the card; target: 45 % of BERT-base's products."""
    with command("benchmarks.gpu"):
        if not torch.cuda.is_available():
            raise InputError("There is no GPU here, or this torch has no CUDA. Run it where torch.cuda.is_available().")
        work = Work(data, rows)
        corpus, pretrained = work.ours()
        found: dict[str, Any] = {"device": torch.cuda.get_device_name()}
        for name in ("minilm", "BERT-base"):
            for batch_size in (16, FILLING):
                key = f"{name}, {batch_size} rows a task"
                found[key] = race((corpus, sized(pretrained, name)), batch_size, steps)
                shown = Table(key, "tokens/s", "of the products", "times plain", "MiB of a step")
                for way, values in found[key].items():
                    cells = f"{values['share']:.2f}", f"{values['times_plain']:.2f}", f"{values['mebibytes']:,.0f}"
                    shown.add_row(way, f"{values['tokens_per_second']:,.0f}", *cells)
                rich.print(shown)
                out.write_text(json.dumps(found, indent=2))
        found["sharing"] = {count: together(work, count) for count in SHARING}
        for count, rate in found["sharing"].items():
            print(f"{count} trials: {rate:,.0f} tokens/s, {rate / found['sharing'][1]:.2f} times one")
        out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
