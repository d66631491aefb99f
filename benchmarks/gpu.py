"""Measure training speed on a GPU: alone, relative to bare matrix products, and of several trials on one GPU.

`python -m benchmarks.gpu --data DIR` takes some minutes, prints one table per model and batch size and writes gpu.json.
It needs neither Ray nor a network. BERT-base has random weights here, which do not change its speed.
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
"""Rows per task that occupy the whole GPU: about 11,000 tokens per step."""
BLOCK = 16384
"""Number of tokens in a timed matrix product."""
SHARING = (1, 2, 4, 8)
"""Numbers of concurrent trials on the GPU."""
SECONDS = 10.0
"""Duration of the concurrent trials."""
MEBIBYTE = 2**20
PRECISION: dict[str, Any] = {"precision": "bfloat16"}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain, float32": {"precision": "float32"},
    "plain": {},
    "no dropout of attention": {"attention_dropout": 0.0},
    "PCGrad": {"surgery": "pcgrad"},
    "SMART": {"smart": SmartConfig(lambda_s=1.0)},
    "SMART, PCGrad": {"smart": SmartConfig(lambda_s=1.0), "surgery": "pcgrad"},
    "SMART, Bregman": {"smart": SmartConfig(lambda_s=1.0), "bregman": BregmanConfig(mu=1.0)},
}


def sized(pretrained: Pretrained, name: str) -> Pretrained:
    """Return MiniLM, or an encoder with the size of BERT-base, random weights and MiniLM's tokenizer."""
    if name == "minilm":
        return pretrained
    assert isinstance(pretrained.config, BertConfig)
    shape = replace(BASE, vocabulary=pretrained.config.vocabulary)
    return replace(pretrained, config=shape, weights=Bert(shape).state_dict(), mlm_head={})


def race(given: tuple[Corpus, Pretrained], rows: int, steps: int) -> dict[str, dict[str, float]]:
    """Measure all variants of training and a loop of bare matrix products, one step of each in turn."""
    shape = given[1].config
    assert isinstance(shape, BertConfig)
    loops = {"products": products_loop(shape, backward=True, tokens=BLOCK, device="cuda", dtype=torch.bfloat16)}
    step_memory = {"products": 0.0}
    for name, changes in VARIANTS.items():
        loops[name] = training_loop(given, config_of(rows, **PRECISION | changes), "cuda")
        loops[name]()  # the first step allocates the moments of the optimiser
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loops[name]()
        step_memory[name] = (torch.cuda.max_memory_allocated() - before) / MEBIBYTE
    paces = alternate(loops, steps, torch.cuda.synchronize)
    return {name: _results(pace, paces, step_memory[name]) for name, pace in paces.items()}


def together(work: Work, count: int) -> float:
    """Train `count` trials on the GPU concurrently; return the sum of their tokens per second."""
    begin = time.time() + READY + 5 * count  # each process takes seconds to initialise CUDA
    return sum(side_by_side(sharing, [(work, count, begin)] * count))


def sharing(work: Work, count: int, begin: float) -> float:
    """Train one of `count` concurrent trials; return its tokens per second."""
    limit_gpu_memory(1 / count)
    return tokens_per_second(work, config_of(**PRECISION), SECONDS, begin, "cuda")


def _results(pace: Pace, paces: dict[str, Pace], memory: float) -> dict[str, float]:
    return {
        "tokens_per_second": pace.rate,
        "share": pace.faster(paces["products"]),
        "times_plain": pace.times(paces["plain"]),
        "mebibytes": memory,
    }


def main(
    data: Annotated[Path, typer.Option(help="A directory with the files of the course.")],
    rows: Annotated[int, typer.Option(min=512, help="Number of training rows per task.")] = 4000,
    steps: Annotated[int, typer.Option(min=3, help="Number of steps of each loop.")] = 20,
    out: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("gpu.json"),
) -> None:
    """Measure MiniLM and BERT-base, then concurrent trials; target: 45 % of the speed of BERT-base's products."""
    with command("benchmarks.gpu"):
        if not torch.cuda.is_available():
            raise InputError(
                "This machine has no GPU, or torch has no CUDA. "
                "Run the benchmark where torch.cuda.is_available() is true."
            )
        work = Work(data, rows)
        corpus, pretrained = work.ours()
        found: dict[str, Any] = {"device": torch.cuda.get_device_name()}
        for name in ("minilm", "BERT-base"):
            for batch_size in (16, FILLING):
                key = f"{name}, {batch_size} rows per task"
                found[key] = race((corpus, sized(pretrained, name)), batch_size, steps)
                shown = Table(key, "tokens/s", "share of products", "times plain", "MiB per step")
                for way, values in found[key].items():
                    cells = f"{values['share']:.2f}", f"{values['times_plain']:.2f}", f"{values['mebibytes']:,.0f}"
                    shown.add_row(way, f"{values['tokens_per_second']:,.0f}", *cells)
                rich.print(shown)
                out.write_text(json.dumps(found, indent=2))
        found["sharing"] = {count: together(work, count) for count in SHARING}
        for count, rate in found["sharing"].items():
            print(f"{count} trials: {rate:,.0f} tokens/s, {rate / found['sharing'][1]:.2f} times the rate of one")
        out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
