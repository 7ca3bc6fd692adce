"""Four adapters on one base: one `hlvbench run` against four `lm-eval run --model hf` with `peft=`.

Same model, adapters, prompts, token limit and precision; greedy; each program's own default batch size, unless
`--their-batch-size 16` makes them equal. lm-eval only predicts (`--predict_only`), hlvbench also scores and reports.
Start-up is a run of one item, generation the rest.
Needs HLVBENCH_DATA unless `--task demo`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from hlvbench.data.task import load_task
from hlvbench.io import read_generations
from hlvbench.models.adapters import local_folder
from hlvbench.models.smollm2 import NAME
from hlvbench.prompting.prompt import Prompter
from hlvbench.types import Task

TARGET = 3.0
YAML = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: ""
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {limit}}}
metric_list: [{{metric: exact_match}}]
"""


def write_adapters(model: str, task: Task, folder: Path) -> None:
    """A LoRA adapter per annotator whose weights are small noise: as costly to serve as a trained one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for number, annotator in enumerate(task.annotators):
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        adapted = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
        noise = torch.Generator().manual_seed(number)
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.data.normal_(std=0.01, generator=noise)
        adapted.save_pretrained(folder / task.name / annotator)


def write_lm_eval_tasks(task: Task, limit: int | None, max_new_tokens: int, folder: Path) -> None:
    """A YAML and a JSONL per annotator, with the prompts that hlvbench makes."""
    folder.mkdir()
    prompter = Prompter(task, "base")
    for annotator in task.annotators:
        rows, name = folder / f"{annotator}.jsonl", f"{task.name}_{annotator}".lower()
        with rows.open("w") as stream:
            for item, who in task.questions("test", limit):
                if who == annotator:
                    stream.write(json.dumps({"item": item, "prompt": prompter.content(item, who)}) + "\n")
        (folder / f"{name}.yaml").write_text(YAML.format(name=name, rows=rows, limit=max_new_tokens))


def seconds(*command: object, env: Mapping[str, str]) -> float:
    """Wall time of a program of this environment; its output is shown where it fails."""
    program, *rest = map(str, command)
    started = time.perf_counter()
    done = subprocess.run([Path(sys.executable).parent / program, *rest], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{program} {' '.join(rest)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.perf_counter() - started


def our_texts(folder: Path) -> dict[tuple[str, str], str]:
    return {(r.item, r.annotator): r.text for r in read_generations(folder / "generations.jsonl")}


def their_texts(folder: Path, task: Task) -> dict[tuple[str, str], str]:
    found = {}
    for annotator in task.annotators:
        (path,) = (folder / annotator).rglob("samples_*.jsonl")
        with path.open() as rows:
            for row in map(json.loads, rows):
                found[row["doc"]["item"], annotator] = row["resps"][0][0]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default=NAME, help="a folder, or %(default)s (the default)")
    parser.add_argument("--task", default="varierr")
    parser.add_argument("--limit", type=int, help="items; default: all")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16, help="ours (default: %(default)s, as on any CPU)")
    parser.add_argument("--their-batch-size", default="1", help="lm-eval's (default: %(default)s, its own default)")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    model, task = str(local_folder(given.model, "--model").resolve()), load_task(given.task)

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "datasets")}
        write_adapters(model, task, work / "adapters")
        write_lm_eval_tasks(task, given.limit, given.max_new_tokens, work / "tasks")

        def ours(verb: str, out: str, limit: int | None) -> float:
            options = ["--limit", limit] if limit else []
            return seconds(
                "hlvbench", verb, "--task", task.name, "--model", model, "--adapter-dir", work / "adapters", "-q",
                "--max-new-tokens", given.max_new_tokens, "--batch-size", given.batch_size, "--device", given.device,
                "--dtype", "float32", "--out", work / out, *options, env=env,
            )  # fmt: skip

        def theirs(out: str, limit: int | None) -> float:
            options = ["--limit", limit] if limit else []
            return sum(
                seconds(
                    "lm-eval", "run", "--model", "hf", "--predict_only", "--apply_chat_template", "--device",
                    given.device, "--model_args",
                    f"pretrained={model},peft={work / 'adapters' / task.name / annotator},dtype=float32",
                    "--include_path", work / "tasks", "--tasks", f"{task.name}_{annotator}".lower(),
                    "--batch_size", given.their_batch_size, "--output_path", work / out / annotator, *options, env=env,
                )
                for annotator in task.annotators
            )  # fmt: skip

        # the short runs come first: they also warm the file cache for both
        our_start, their_start = ours("generate", "short", 1), theirs("short-theirs", 1)
        our_whole, their_whole = ours("run", "run", given.limit), theirs("theirs", given.limit)
        our_raw = ours("generate", "raw", given.limit)
        mine, other = our_texts(work / "run" / task.name), their_texts(work / "theirs", task)

    equal = sum(mine[question].strip() == text.strip() for question, text in other.items())
    print(f"{len(mine)} questions of {task.name}, {len(task.annotators)} adapters")
    sizes = f"batches of {given.batch_size}, lm-eval's of {given.their_batch_size}"
    print(f"at most {given.max_new_tokens} new tokens, {sizes}")
    print(f"{'':14}{'start-up':>10}{'generation':>12}{'scoring':>9}{'whole':>8}   (seconds)")
    print(f"{'hlvbench':14}{our_start:10.1f}{our_raw - our_start:12.1f}{our_whole - our_raw:9.1f}{our_whole:8.1f}")
    print(f"{'lm-eval, four':14}{their_start:10.1f}{their_whole - their_start:12.1f}{'-':>9}{their_whole:8.1f}")
    print(f"answers equal in both: {equal} of {len(other)}")
    print(f"with our scoring and report: ratio {their_whole / our_whole:.2f}")
    print(f"both only predicting: ratio {their_whole / our_raw:.2f}, target at least {TARGET}")
    return int(their_whole / our_raw < TARGET)


if __name__ == "__main__":
    sys.exit(main())
