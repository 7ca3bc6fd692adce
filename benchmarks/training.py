"""How fast training is, beside what a user would use instead, on the same batches of real annotations.

sft: against a plain transformers + peft loop. capo: against trl's stock DPOTrainer with `precompute_ref_log_probs`, so
that neither side computes the reference in a step; the time of our caching pass is printed. Ratios of tokens per
second, medians of alternating rounds. Needs HLVBENCH_DATA.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hlvbench.data.task import load_task
from hlvbench.models.adapters import find_adapters, local_folder
from hlvbench.models.loading import identified
from hlvbench.models.logprobs import Example
from hlvbench.models.smollm2 import NAME
from hlvbench.training.adapter_trainer import AdapterTrainer, RowOrder, with_reference
from hlvbench.training.train_adapters import train
from hlvbench.training.trainable_model import TrainableModel
from hlvbench.training.training_config import Config
from hlvbench.training.training_data import EncodedPair, Job, training_data

SFT_TARGET, CAPO_TARGET = 1.0, 1.0
ANNOTATOR, MICRO = "Ann1", 8


def plain_sft(model: str, config: Config, passes: Sequence[Sequence[Example]], pad: int) -> Callable[[], None]:
    """What a user would write: padded on the right, labels of -100 on prompts, the model's own loss."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapter = LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=0.05, target_modules="all-linear",
                         task_type="CAUSAL_LM")  # fmt: skip
    peft = get_peft_model(base, adapter).train()
    optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=2e-4)
    per_step = config.batch // MICRO

    def run() -> None:
        for number, piece in enumerate(passes, 1):
            width = max(r.tokens for r in piece)
            gaps = [width - r.tokens for r in piece]
            ids = [[*r.prompt, *r.answer] + [pad] * g for r, g in zip(piece, gaps, strict=True)]
            labels = [[-100] * len(r.prompt) + [*r.answer] + [-100] * g for r, g in zip(piece, gaps, strict=True)]
            mask = [[1] * r.tokens + [0] * g for r, g in zip(piece, gaps, strict=True)]
            loss = peft(
                input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), labels=torch.tensor(labels),
                use_cache=False,
            ).loss  # fmt: skip
            (loss / per_step).backward()
            if number % per_step == 0:
                torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.requires_grad], 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    return run


def our_trainer(trainable: TrainableModel, job: Job, rows: Sequence[Any]) -> Callable[[], None]:
    """One epoch of the adapter on the trainable model, its checkpoint included."""
    return lambda: AdapterTrainer(trainable, job, rows, MICRO, "none", True).train() and None


def stock_dpo(model: str, sft: Path, pairs: Sequence[EncodedPair], scratch: Path, per_step: int) -> Callable[[], None]:
    """trl's DPOTrainer on an adapter named "default", its reference precomputed; one step per batch of pairs."""
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, sft, is_trainable=True)
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2
    trainer = DPOTrainer(
        peft, args=DPOConfig(str(scratch / "trl"), use_cpu=True, report_to=[], bf16=False, max_length=None,
                             gradient_checkpointing=False, per_device_train_batch_size=per_step,
                             precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list(rows), processing_class=AutoTokenizer.from_pretrained(model),
    )  # fmt: skip
    optimizer = trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    collate, train_step = trainer.data_collator, trainer.training_step
    made = [
        {"prompt_ids": [*p.chosen.prompt], "chosen_ids": [*p.chosen.answer], "rejected_ids": [*p.rejected.answer],
         "ref_chosen_logps": p.chosen_logp, "ref_rejected_logps": p.rejected_logp}
        for p in pairs
    ]  # fmt: skip
    peft.train()

    def run() -> None:
        for start in range(0, len(made), per_step):
            train_step(peft, collate(made[start : start + per_step]))
            torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def compare(ours: Callable[[], None], theirs: Callable[[], None], tokens: int, rounds: int) -> tuple[float, float]:
    """Median tokens per second of both, in alternating rounds after one to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for own, run in zip(times, (ours, theirs), strict=True):
            started = time.perf_counter()
            run()
            if number:
                own.append(time.perf_counter() - started)
    return tokens / statistics.median(times[0]), tokens / statistics.median(times[1])


def report(name: str, ours: float, theirs: float, other: str, target: float) -> bool:
    print(f"{name}: {ours:.0f} tokens/s, {other} {theirs:.0f} tokens/s")
    print(f"  ratio {ours / theirs:.2f}, target at least {target}")
    return ours / theirs >= target


def prepared(config: Config, scratch: Path, rows: int) -> tuple[TrainableModel, Job, list[Any]]:
    """The base, the job of one annotator and its first rows."""
    trainable = TrainableModel(config, identified(config.model, Path(config.model)), "cpu")
    job = Job(load_task("varierr"), ANNOTATOR, scratch / config.method / ANNOTATOR)
    data = training_data(job, trainable.decoder, trainable.context, config, None)
    return trainable, job, list(data.rows[:rows])


def bench_sft(model: str, steps: int, rounds: int, scratch: Path) -> bool:
    config = Config("sft", model, ("varierr",), epochs=1, checkpoints=1)
    trainable, job, rows = prepared(config, scratch, steps * config.batch)
    trainable.add(0)
    order = RowOrder(rows, config, job.key).of_epoch(0)
    passes = [[rows[i] for i in order[s : s + MICRO]] for s in range(0, len(order), MICRO)]
    theirs = plain_sft(model, config, passes, trainable.decoder.pad)
    found = compare(our_trainer(trainable, job, rows), theirs, sum(r.tokens for r in rows), rounds)
    return report("sft", *found, "plain transformers + peft loop", SFT_TARGET)


def bench_capo(model: str, steps: int, rounds: int, scratch: Path) -> bool:
    sft = train(Config("sft", model, ("varierr",), epochs=0.05, dropout=0.0), scratch / "sft", quiet=True, device="cpu")
    start = sft / "varierr" / ANNOTATOR
    config = Config("capo", model, ("varierr",), start=str(sft), batch=MICRO, epochs=1, checkpoints=1, select="last")
    trainable, job, rows = prepared(config, scratch, steps * config.batch)
    trainable.load_starts(find_adapters(str(sft), {job.task.name: job.task.annotators}))
    began = time.perf_counter()
    pairs = with_reference(trainable, rows, start)
    print(f"capo: caching the reference took {time.perf_counter() - began:.1f} s for {len(pairs)} pairs, once")
    trainable.add(0, start)
    ordered = [pairs[i] for i in RowOrder(pairs, config, job.key).of_epoch(0)]
    theirs = stock_dpo(model, start, ordered, scratch, config.batch)
    found = compare(our_trainer(trainable, job, pairs), theirs, sum(p.tokens for p in pairs), rounds)
    return report("capo, per step after it", *found, "stock DPOTrainer, its reference precomputed", CAPO_TARGET)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=NAME, help="a folder, or %(default)s (the default)")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    model = str(local_folder(given.model, "--model"))
    with tempfile.TemporaryDirectory() as scratch:
        met = [
            bench_sft(model, given.steps, given.rounds, Path(scratch)),
            bench_capo(model, given.steps, given.rounds, Path(scratch)),
        ]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
