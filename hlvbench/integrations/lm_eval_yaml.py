"""Generates tasks/lm_eval/: the headline metrics and the annotators of each task as lm-eval's YAML files.

python -m hlvbench.integrations.lm_eval_yaml
"""

from __future__ import annotations

from ..data.task import builtin_tasks_dir, load_spec
from ..io import write_files
from ..metrics import REGISTRY, headline_names
from .attribution_tasks import NUMBERS

TASKS = ("varierr", "r2", "convarg")
_HEAD = """\
# What the {what} share. No document is read before one of them is asked for.
custom_dataset: !function hlvbench.integrations.lm_eval.{documents}
test_split: test
output_type: {output_type}
doc_to_text: prompt
"""
_GENERATE = """\
doc_to_target: target
process_results: !function hlvbench.integrations.lm_eval.process_{which}
# as `hlvbench run`: greedy, at most 128 new tokens, nothing but the model's own end stops it
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: 128}}
"""
_CHOOSE = """\
doc_to_choice: letters
doc_to_target: target
process_results: !function hlvbench.integrations.lm_eval.process_attribution
"""


def yaml_files() -> dict[str, str]:
    """File name -> content of every file of tasks/lm_eval."""
    files = {"_attribution_yaml": _attribution()}
    for kind in ("nominal", "ordinal"):
        for which, asked in (("all", "that ask every annotator"), ("one", "that ask one annotator")):
            files[f"_{which}_{kind}_yaml"] = _shared(kind, which, f"{kind} tasks {asked}")
    for name in TASKS:
        spec = load_spec(name)
        version = f"metadata: {{version: {spec.version}}}\n"
        annotators = {a: f"hlv_{name}_{a.lower()}" for a in spec.annotators}
        files[f"hlv_{name}.yaml"] = _task(f"_all_{spec.kind}_yaml", f"hlv_{name}", f"hlv_task: {name}")
        files[f"hlv_{name}_attribution.yaml"] = _task(
            "_attribution_yaml", f"hlv_{name}_attribution", f"hlv_task: {name}"
        )
        for annotator, task in annotators.items():
            asked = f"hlv_task: {name}, hlv_annotator: {annotator}"
            files[f"{task}.yaml"] = _task(f"_one_{spec.kind}_yaml", task, asked)
        means = [
            f"  - {{metric: {metric}, aggregation: mean, weight_by_size: false}}"
            for metric in headline_names(spec.kind, one_annotator=True)
        ]
        tasks = [f"  - {task}" for task in annotators.values()]
        lines = [f"group: hlv_{name}_annotators", "task:", *tasks, "# every annotator counts alike, as in hlvbench",
                 "aggregate_metric_list:", *means]  # fmt: skip
        files[f"hlv_{name}_annotators.yaml"] = "\n".join(lines) + "\n" + version
    return files


def _task(shared: str, name: str, arguments: str) -> str:
    return f"include: {shared}\ntask: {name}\ndataset_kwargs: {{{arguments}}}\n"


def _shared(kind: str, which: str, what: str) -> str:
    names = headline_names(kind, one_annotator=which == "one")
    better = {name: REGISTRY[name.partition("@")[0]].better != "lower" for name in names}
    metrics = {name + part: better[name] for name in names for part in ("", "_low", "_high")} | {"missing": False}
    head = _HEAD.format(what=what, documents="documents", output_type="generate_until")
    return head + _GENERATE.format(which=which) + _metric_list(metrics, "aggregate")


def _attribution() -> str:
    head = _HEAD.format(
        what="tasks that ask who wrote an explanation", documents="attribution_documents", output_type="multiple_choice"
    )
    return head + _CHOOSE + _metric_list({name: name != "unreadable" for name in NUMBERS}, "aggregate_attribution")


def _metric_list(metrics: dict[str, bool], aggregation: str) -> str:
    lines = ["num_fewshot: 0", "metric_list:"]
    for position, (name, higher) in enumerate(metrics.items()):
        by = "*ours" if position else f"&ours !function hlvbench.integrations.lm_eval.{aggregation}"
        lines.append(f"  - {{metric: {name}, aggregation: {by}, higher_is_better: {str(higher).lower()}}}")
    return "\n".join([*lines, "metadata: {version: 1}", ""])


if __name__ == "__main__":
    write_files(builtin_tasks_dir() / "lm_eval", yaml_files())
