"""lm-eval with an adapter per annotator answers as `hlvbench run --adapter-dir` does, with the same validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from hlvbench.data.task import builtin_tasks_dir
from hlvbench.errors import AdapterError, UsageError
from hlvbench.generation.run import generate
from hlvbench.integrations import harness
from hlvbench.io import read_generations
from hlvbench.settings import Settings
from tests.generation.test_run import tasks_dir  # noqa: F401
from tests.tiny import tiny_adapter, tiny_model

pytest.importorskip("lm_eval")
SHARED = builtin_tasks_dir() / "lm_eval" / "_all_nominal_yaml"
YAML = """\
include: {shared}
task: hlv_mine
dataset_kwargs: {{hlv_task: {place}}}
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: 12}}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "base", context=512)


@pytest.fixture
def adapters(base: Path, tmp_path: Path) -> Path:
    for seed, annotator in enumerate(("w1", "w2", "w3"), start=1):
        tiny_adapter(tmp_path / "adapters" / "mine" / annotator, base, seed=seed)
    return tmp_path / "adapters"


def through_lm_eval(base: Path, adapters: Path, place: Path, folder: Path) -> dict[tuple[str, str], str]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from hlvbench.integrations.lm_eval_adapters import AnnotatorAdapters

    harness.task_of.cache_clear()
    folder.mkdir(exist_ok=True)
    (folder / "hlv_mine.yaml").write_text(YAML.format(shared=SHARED, place=place))
    model = AnnotatorAdapters(str(base), str(adapters), device="cpu", dtype="float32", batch_size=4)
    found = simple_evaluate(
        model, tasks=["hlv_mine"], task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        apply_chat_template=True, bootstrap_iters=0,
    )  # fmt: skip
    samples = found["samples"]["hlv_mine"]
    assert found["results"]["hlv_mine"]["label_accuracy,none"] >= 0
    return {(s["doc"]["item"], s["doc"]["annotator"]): s["resps"][0][0] for s in samples}


@pytest.mark.slow
def test_every_annotator_answers_with_the_adapter_of_that_annotator(base, adapters, tasks_dir, tmp_path):  # noqa: F811
    settings = Settings(str(base), task=("mine",), adapter_dir=str(adapters), max_new_tokens=12, dtype="float32")
    out = generate(settings, out=tmp_path / "run", tasks_dir=tasks_dir, batch_size=4, quiet=True)
    ours = {(r.item, r.annotator): r.text for r in read_generations(out / "mine" / "generations.jsonl")}
    theirs = through_lm_eval(base, adapters, tasks_dir / "mine", tmp_path / "yaml")
    assert theirs == ours
    by_item: dict[str, set[str]] = {}
    for (item, _), text in ours.items():
        by_item.setdefault(item, set()).add(text)
    assert all(len(texts) > 1 for texts in by_item.values())


@pytest.mark.slow
def test_what_is_wrong_with_the_adapters_is_told_before_an_answer(base, adapters, tasks_dir, tmp_path):  # noqa: F811
    (adapters / "mine" / "w2" / "adapter_model.safetensors").unlink()
    tiny_adapter(adapters / "mine" / "w3", base, train=False)
    with pytest.raises(AdapterError, match=r"(?s)2 problems.*w2.*w3"):
        through_lm_eval(base, adapters, tasks_dir / "mine", tmp_path / "yaml")


def test_two_ways_to_name_an_adapter_are_refused(base, adapters):
    from hlvbench.integrations.lm_eval_adapters import AnnotatorAdapters

    with pytest.raises(UsageError, match="give one of them"):
        AnnotatorAdapters(str(base), str(adapters), peft=str(adapters))
