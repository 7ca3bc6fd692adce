"""The whole path on the built-in task: a tiny model trained from scratch, its adapters, the main job, a table.

The base learns the format and the task from a crowd of other imaginary people on other items, with annotator
numbers that mean nothing, so it cannot tell the task's annotators apart; one adapter each then teaches it to.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import RunError
from .files import dump_json, read_json, write_atomic
from .models.decode import Decoder
from .models.logprobs import forward
from .prompt import Prompter, render_answer
from .run import read_scores, run
from .settings import Settings
from .sources.synthetic import annotator_habits, synthetic_task
from .stats import seeded
from .task import load_task
from .train.batch import Encoder
from .train.config import Config as Training
from .train.driver import train
from .train.loop import STATE, Loop, Objective
from .train.loss import sft_loss
from .types import Task

TASK = "demo"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
COLUMNS = {
    "label accuracy": "label_accuracy(multi=any)",
    "label kappa": "label_kappa",
    "grounding": "grounding_skill(view=norm",
    "NIS@10": "imitation_score(view=norm,reduce=self",
    "own gain": "own_gain(view=norm",
    "hlv_index": "hlv_index",
}
"""Column of the closing table -> how the metric's signature starts."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Config:
    """Sizes: a minute and a half for the base and seconds per adapter on an idle core."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    positions: int = 512
    vocabulary: int = 1000
    crowd: int = 64
    crowd_items: int = 8000
    batch: int = 32
    base_epochs: float = 3.2
    base_rate: float = 4e-3
    rank: int = 16
    adapter_epochs: float = 10.0
    adapter_rate: float = 5e-3
    limit: int | None = None
    seed: int = 0


def run_demo(out: Path, quiet: bool = False, config: Config | None = None) -> str:
    """Train, run, score, below `out`; returns the closing table. What is there already is not made again.

    RunError if `out` holds a demo of other settings, or something else.
    """
    from transformers.utils import logging

    config = config or Config()
    # nothing here is to be found on a hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    task, started = load_task(TASK), time.monotonic()

    # progress bars of single files and the libraries' talk among themselves would bury the demo's own lines
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

    def say(text: str) -> None:
        if not quiet:
            print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    _claim(out, {"config": asdict(config), "data": dict(task.data_sha256)})
    model, adapters = out / "model", out / "adapters"
    with _one_thread():
        _made_once(model, lambda folder: train_base(folder, task, config, say, quiet), say)
        say("adapters: hlvbench train sft")
        train(
            _adapters(model, config),
            adapters,
            device="cpu",
            micro=config.batch,
            quiet=quiet,
            command=["hlvbench", "demo"],
        )
    systems = {
        "majority": Settings("reference:majority", (TASK,), limit=config.limit),
        "base": Settings(str(model), (TASK,), max_new_tokens=64, limit=config.limit),
        "adapters": Settings(str(model), (TASK,), str(adapters), max_new_tokens=64, limit=config.limit),
        "human": Settings("reference:human", (TASK,), limit=config.limit),
    }
    found = {}
    for name, settings in systems.items():
        say(f"run: {name}")
        found[name] = read_scores(run(settings, out=out / "runs" / name, quiet=quiet, command=["hlvbench", "demo"]))[0]
    return f"{closing_table(found)}\n\n{_where(out, time.monotonic() - started)}"


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    path = out / "demo.json"
    if path.exists():
        if read_json(path) != settings:
            raise RunError(f"{out} holds a demo with other settings; choose another --out, or remove it")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists and holds no demo; choose another --out")
    else:
        write_atomic(path, dump_json(settings))


def _made_once(folder: Path, make: Callable[[Path], None], say: Say) -> None:
    """Make a folder under another name and rename it: where it exists it is complete."""
    if folder.exists():
        say(f"{folder} is there already")
        return
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    make(unfinished)
    unfinished.rename(folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Of models as small as these a second thread gains little, and where cores are shared it costs tenfold."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _adapters(model: Path, config: Config) -> Training:
    """What `hlvbench train sft` is asked for."""
    return Training(
        "sft", str(model), (TASK,), rank=config.rank, alpha=2 * config.rank, dropout=0.0, rate=config.adapter_rate,
        epochs=config.adapter_epochs, batch=config.batch, warmup=0.05, seed=config.seed,
    )  # fmt: skip


def crowd_task(config: Config, task: Task) -> Task:
    """What the base learns from: people after the task's own K, each item judged by one of them."""
    crowd = annotator_habits(config.crowd + len(task.annotators))[len(task.annotators) :]
    # "train" alone, and a seed of its own: the texts of the task are left out below
    made = synthetic_task(
        items=(config.crowd_items, 0, 0), habits=crowd, per_item=1, seed=config.seed + 1, name="crowd"
    )
    known = {text for item in task.items.values() for text in item.text.values()}
    fresh = tuple(r for r in made.records if known.isdisjoint(made.items[r.item].text.values()))
    return replace(made, records=fresh)


def train_base(folder: Path, task: Task, config: Config, say: Say, quiet: bool) -> None:
    """A small Llama from random weights, saved with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    say("base model: writing what the crowd says")
    crowd = crowd_task(config, task)
    tokenizer = train_tokenizer(crowd, config.vocabulary)
    # numbers that mean nothing: the base must not learn that they tell how to answer
    drawn = seeded("demo numbers", config.seed).integers(0, len(task.annotators), len(crowd.records))
    encoder = Encoder(crowd, Decoder(tokenizer, Settings("demo", (TASK,))), config.positions)
    asked = [replace(r, annotator=task.annotators[k]) for r, k in zip(crowd.records, drawn, strict=True)]
    rows = [encoder.example(r, question) for r, question in zip(crowd.records, asked, strict=True)]
    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=config.hidden, intermediate_size=3 * config.hidden,
            num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.heads,
            max_position_embeddings=config.positions, tie_word_embeddings=True,
            # about 1/sqrt(hidden): the library's .02 is meant for wide models and learns far slower here
            initializer_range=0.08,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )
    ).float().train()  # fmt: skip
    say(f"base model: {sum(p.numel() for p in model.parameters()):,} weights, {len(rows)} examples")
    settings = Training(
        "sft", "demo", (TASK,), rate=config.base_rate, epochs=config.base_epochs, batch=config.batch, warmup=0.05,
        weight_decay=0.01, seed=config.seed,
    )  # fmt: skip

    def loss(positions: Sequence[int]) -> tuple[Any, Mapping[str, Any]]:
        return sft_loss(*forward(model, [rows[i] for i in positions], tokenizer.pad_token_id)), {}

    objective = Objective(rows, loss, lambda row: len(row.answer))
    loop = Loop(dict(model.named_parameters()), objective, settings, folder, (TASK, "base"), config.batch)
    loop.run(lambda state: None, [], quiet)
    (folder / STATE).unlink(missing_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train_tokenizer(task: Task, size: int) -> Any:
    """A byte-level BPE tokenizer of the task's train texts, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    prompter, constant = Prompter(task), f" {task.instruction}"
    texts = [
        f"{prompter.content(r.item, r.annotator)}\n{render_answer(task, r.label, r.explanation)}".replace(constant, "")
        for r in task.records
    ]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    # the sentence that stands in every prompt is one token: a fifth less to compute
    raw.add_tokens([constant])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=SPECIAL[0], eos_token=SPECIAL[1], chat_template=CHAT_TEMPLATE,
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def closing_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """System -> scores.json document, as a plain-text table of `COLUMNS`."""
    lines = ["".join(["system".ljust(10), *(f"{name:>16}" for name in COLUMNS)])]
    for system, document in found.items():
        overall = [s for s in document["scores"] if s["annotator"] is None]
        cells = [_value(overall, column, start) for column, start in COLUMNS.items()]
        lines.append("".join([system.ljust(10), *(f"{cell:>16}" for cell in cells)]))
    return "\n".join(lines)


def _value(scores: Sequence[Mapping[str, Any]], column: str, start: str) -> str:
    size = f"@{column.partition('@')[2]}" if "@" in column else ""
    rows = [s for s in scores if s["signature"].startswith(start) and s["metric"].endswith(size)]
    return f"{rows[0]['value']:.3f}" if rows and rows[0]["value"] is not None else "–"


def _where(out: Path, seconds: float) -> str:
    report = out / "runs" / "adapters" / "report.html"
    return f"report of the adapters: {report}\n{seconds:.0f} s in all"
