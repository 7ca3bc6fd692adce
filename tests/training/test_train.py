"""The reference trainers as a user runs them, on random-weight models."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hlvbench.cli import main
from hlvbench.errors import AdapterError, HlvbenchError, RunError
from hlvbench.io import read_generations, read_json, sha256_file, sha256_text
from hlvbench.models.decode import Decoder
from hlvbench.models.hf import load_hf
from hlvbench.models.loading import load_tokenizer
from hlvbench.settings import Settings
from hlvbench.training.train_adapters import dry_run, train
from hlvbench.training.trainable_model import TrainableModel
from hlvbench.training.training_config import CONFIGS, Config, to_toml
from hlvbench.training.training_data import Encoder
from tests.tiny import tiny_adapter, tiny_model
from tests.toy import save_table, toy_task
from tests.trainers import TASK, config

FILES = ("adapter_config.json", "adapter_model.safetensors", "hlvbench.json", "train.toml", "log.jsonl")


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_adapters_are_what_run_takes_and_answer_in_their_own_way(base: Path, tasks_dir: Path, sft: Path) -> None:
    assert sorted(p.name for p in (sft / "toy").iterdir()) == ["Ann1", "Ann2", "Ann3"]
    model = load_hf(Settings(str(base), ("toy",), str(sft), max_new_tokens=6), [TASK])["toy"]
    assert len(model.describe()["adapters"]) == 3
    facts = read_json(sft / "toy" / "Ann2" / "manifest.json")
    # 10 records in batches of 5, one epoch
    assert (facts["examples"], facts["steps"], facts["too_long"], facts["train_items"]) == (10, 2, 0, 10)
    assert facts["tokens_per_second"] > 0
    assert facts["peak_memory_bytes"] > 1e6
    assert "lm_head" not in json.dumps(read_json(sft / "toy" / "Ann1" / "adapter_config.json")["target_modules"])


def test_the_same_training_gives_the_same_bytes_and_another_seed_others(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    train(config(base, annotator=("Ann2",)), tmp_path / "same", tasks_dir=tasks_dir, quiet=True)
    train(config(base, annotator=("Ann2",), seed=1), tmp_path / "other", tasks_dir=tasks_dir, quiet=True)
    mine, same, other = (content(f / "toy" / "Ann2") for f in (sft, tmp_path / "same", tmp_path / "other"))
    assert {k for k in FILES if mine[k] != same[k]} == {"train.toml"}  # which annotators were asked for
    assert mine["adapter_model.safetensors"] != other["adapter_model.safetensors"]


def test_what_is_finished_is_not_made_again_and_other_settings_are_named(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in sft.rglob("*")}
    train(config(base), sft, tasks_dir=tasks_dir, quiet=True)
    assert {p: p.stat().st_mtime_ns for p in sft.rglob("*")} == before
    with pytest.raises(RunError, match=r"other settings.*\n  --lr: there 0.01, now 0.02\n  --seed: there 0, now 3"):
        train(config(base, rate=0.02, seed=3), sft, tasks_dir=tasks_dir, quiet=True)
    (tmp_path / "toy" / "Ann1").mkdir(parents=True)
    with pytest.raises(RunError, match="holds no adapter"):
        train(config(base), tmp_path, tasks_dir=tasks_dir, quiet=True)


@pytest.mark.parametrize("chat", [True, False])
def test_training_shows_the_very_prompt_of_inference(tmp_path: Path, chat: bool) -> None:
    from hlvbench.generation.run import run

    base = tiny_model(tmp_path / "base", chat)
    task, tasks = toy_task(annotators=2, items=(3, 2, 3)), tmp_path / "tasks"
    run_settings = Settings(str(base), ("toy",), max_new_tokens=6)
    folder = run(run_settings, out=tmp_path / "run", tasks_dir=save_table(task, tasks), quiet=True)
    decoder = Decoder(load_tokenizer(base, run_settings), run_settings)
    encoder = Encoder(task, decoder, None)
    for row in read_generations(folder / "toy" / "generations.jsonl"):
        record = task.by_pair[row.item, row.annotator][0]
        text = decoder.prompt_text(encoder.prompter.content(row.item, row.annotator))
        assert sha256_text(text) == row.prompt_sha256
        example = encoder.example(record)
        assert list(example.prompt) == decoder.encode(encoder.prompter.content(row.item, row.annotator))
        # and the answer is what the parser reads back, ended by the token that ends a model's
        words = decoder.tokenizer.decode(example.answer[:-1])
        assert words.startswith("label : ")
        assert example.answer[-1] == decoder.tokenizer.eos_token_id


def test_a_rejected_answer_stands_under_the_targets_prompt(base: Path, tasks_dir: Path) -> None:
    from hlvbench.training.pairs import preferences

    settings = Settings(str(base), ("toy",))
    encoder = Encoder(TASK, Decoder(load_tokenizer(base, settings), settings), None)
    found = preferences(TASK, "Ann1", Config("capo", str(base)))
    for preference, pair in zip(found, encoder.pairs(found), strict=True):
        assert pair.chosen.prompt == pair.rejected.prompt == encoder.example(preference.chosen).prompt
        assert pair.rejected.answer == encoder.example(preference.rejected).answer != pair.chosen.answer


def test_examples_longer_than_the_context_are_left_out_whole_and_counted(tmp_path: Path, tasks_dir: Path) -> None:
    probe = tiny_model(tmp_path / "probe")
    facts = dry_run(config(probe), tasks_dir=tasks_dir)["toy/Ann1"]
    settings = Settings(str(probe), ("toy",))
    encoder = Encoder(TASK, Decoder(load_tokenizer(probe, settings), settings), None)
    lengths = [e.tokens for e in encoder.examples(TASK.records_of("train", "Ann1"))]
    assert (facts["longest"], facts["tokens"], facts["too_long"]) == (max(lengths), sum(lengths), 0)
    short = tiny_model(tmp_path / "short", context=max(lengths) - 1)
    facts = dry_run(config(short), tasks_dir=tasks_dir)["toy/Ann1"]
    assert facts["too_long"] == lengths.count(max(lengths))
    assert facts["examples"] == len(lengths) - lengths.count(max(lengths))
    none = tiny_model(tmp_path / "none", context=20)
    with pytest.raises(HlvbenchError, match="annotator Ann1 has no example that fits the 20 positions"):
        train(config(none), tmp_path / "out", tasks_dir=tasks_dir, quiet=True)


@pytest.mark.slow
def test_capo_starts_at_its_sft_adapter_and_moves_towards_the_chosen_answers(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    settings = config(base, "capo", start=str(sft), epochs=6, select="last")
    out = train(settings, tmp_path / "capo", tasks_dir=tasks_dir, quiet=True, command=["train", "capo"])
    load_hf(Settings(str(base), ("toy",), str(out), max_new_tokens=6), [TASK])
    log = [json.loads(line) for line in (out / "toy" / "Ann1" / "log.jsonl").read_text().splitlines()]
    # before the first step the policy is the reference: margin 0, loss log 2 (one pass in training mode, no dropout)
    assert log[0]["dpo"] == pytest.approx(0.693147, abs=1e-4)
    assert log[0]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert log[-1]["margin"] > 0.05
    assert log[-1]["correct"] > 0.7
    facts = read_json(out / "toy" / "Ann1" / "manifest.json")
    assert facts["pairs"] == sum(facts["rejected_by"].values()) > 5
    assert facts["start_command"] == ["hlvbench", "train", "sft"]
    assert facts["trained_on"]["start"] == sha256_file(sft / "toy" / "Ann1" / "adapter_model.safetensors")
    other = train(config(base, seed=7), tmp_path / "other", tasks_dir=tasks_dir, quiet=True)
    with pytest.raises(RunError, match=r"other settings(.|\n)*  start: there"):
        train(dataclasses.replace(settings, start=str(other)), out, tasks_dir=tasks_dir, quiet=True)
    assert not (out / "toy" / "Ann1" / "ref").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"init_lora_weights": "pissa"}, {"bias": "all"}, {"layer_replication": [(0, 2), (1, 2)]}]
)
def test_capo_from_starts_that_change_their_base(tasks_dir: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_model(tmp_path / "base", biased=True)
    for seed, name in enumerate(TASK.annotators):
        tiny_adapter(tmp_path / "sft" / "toy" / name, base, seed=seed, scale=0.1, **(change if seed < 2 else {}))
    settings = config(base, "capo", start=str(tmp_path / "sft"), rate=0.5, checkpoints=1, select="label_accuracy")
    ids, logits = torch.tensor([range(6, 20)]), {}

    def answer(folder: Path) -> Any:
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        with torch.inference_mode():
            return PeftModel.from_pretrained(plain, folder).eval()(ids).logits

    real = TrainableModel.save

    def save(trainable: TrainableModel, folder: Path, task: str, annotator: str, state: Any = None) -> None:
        real(trainable, folder, task, annotator, state)
        with trainable.answering() as model, torch.inference_mode():
            logits[annotator, folder.name] = model(ids).logits
        # what is on disk is the model that was trained, and the first checkpoint is the start
        assert torch.allclose(answer(folder), logits[annotator, folder.name], rtol=1e-3, atol=1e-3)
        if folder.name == "checkpoint-0":
            assert torch.allclose(answer(tmp_path / "sft" / "toy" / annotator), answer(folder), rtol=1e-3, atol=1e-3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainableModel, "save", save)
        train(settings, tmp_path / "capo", tasks_dir=tasks_dir, quiet=True)
    assert len(logits) == 6
    for name in TASK.annotators:
        before, after = (found for (who, _), found in logits.items() if who == name)
        assert (before - after).abs().max() > 0.01


@pytest.mark.slow
def test_capo_scores_its_checkpoints_on_dev_beside_the_start(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path
) -> None:
    settings = config(base, "capo", start=str(sft), checkpoints=2, annotator=("Ann2",), select="own_match")
    folder = train(settings, tmp_path / "capo", tasks_dir=tasks_dir, quiet=True) / "toy" / "Ann2"
    facts = read_json(folder / "manifest.json")
    steps = [point["step"] for point in facts["checkpoints"]]
    assert steps == [0, round(facts["steps"] / 2), facts["steps"]]
    assert facts["kept_step"] in steps
    for point in facts["checkpoints"]:
        assert {"imitation", "distinctness", "label_accuracy", "product", "own_match", "missing"} <= point.keys()
    start = read_generations(tmp_path / "capo" / "toy" / ".start" / "generations.jsonl")
    assert len(start) == len(TASK.questions("dev"))
    if facts["kept_step"]:
        assert {r.annotator for r in read_generations(folder / "dev" / "generations.jsonl")} == {"Ann2"}


@pytest.mark.slow
def test_a_shared_adapter_speaks_for_everybody(base: Path, tasks_dir: Path, tmp_path: Path) -> None:
    out = train(config(base, shared=True), tmp_path / "shared", tasks_dir=tasks_dir, quiet=True)
    assert read_json(out / "manifest.json")["examples"] == 30
    model = load_hf(Settings(str(base), ("toy",), str(out), max_new_tokens=6), [TASK])["toy"]
    assert len(set(model.describe()["adapters"].values())) == 1
    capo = config(base, "capo", start=str(out), shared=True, select="last")
    train(capo, tmp_path / "capo", tasks_dir=tasks_dir, quiet=True)
    assert (tmp_path / "capo" / "adapter_model.safetensors").exists()
    with pytest.raises(AdapterError, match="holds one adapter: add --shared"):
        train(dataclasses.replace(capo, shared=False), tmp_path / "no", tasks_dir=tasks_dir, quiet=True)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_weights_before_it_as_an_adapter(
    base: Path, tasks_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hlvbench.training import adapter_trainer

    calls, sound = [], adapter_trainer.sft_loss

    def breaks(logps: Any, mask: Any) -> Any:
        calls.append(1)
        # two passes of micro-batches a step: the third step is the first to break
        return sound(logps, mask) * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(adapter_trainer, "sft_loss", breaks)
    words = f"train sft --model {base} --task toy --tasks-dir {tasks_dir} --annotator Ann1 --batch 4 --micro-batch 2"
    words = [*words.split(), "--epochs", "2", "--out", str(tmp_path / "out"), "-q"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "toy/Ann1: the loss or its gradient is not finite at step 3 of" in told
    assert "Traceback" not in told
    good = tmp_path / "out" / "toy" / ".Ann1.unfinished" / "last-good"
    assert str(good) in told
    model_map = dict.fromkeys(TASK.annotators, str(base)) | {"Ann1": str(good)}
    load_hf(Settings(str(base), ("toy",), model_map=model_map, max_new_tokens=6), [TASK])
    assert not (tmp_path / "out" / "toy" / "Ann1").exists()


def test_train_items_are_one_draw_for_all_annotators(base: Path, tasks_dir: Path, tmp_path: Path) -> None:
    found = dry_run(config(base, train_items=4), tasks_dir=tasks_dir)
    items = {name: {row["item"] for row in facts["shown"]} for name, facts in found.items()}
    assert {len(found[n]["shown"]) for n in items} == {4}
    assert len({frozenset(i) for i in items.values()}) == 1
    assert items["toy/Ann1"] != {
        r["item"] for r in dry_run(config(base, train_items=4, seed=1), tasks_dir=tasks_dir)["toy/Ann1"]["shown"]
    }


def test_a_recorded_config_makes_the_same_adapter_again(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = sft / "toy" / "Ann3" / "train.toml"
    words = ["train", "sft", "--config", str(recorded), "--model", str(base), "--tasks-dir", str(tasks_dir)]
    assert main([*words, "--out", str(tmp_path / "again"), "-q"]) == 0
    assert content(tmp_path / "again" / "toy" / "Ann3") == content(sft / "toy" / "Ann3")
    assert str(base.parent) not in recorded.read_text()


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("*.toml")))
def test_a_named_config_is_complete_and_resolves(
    name: str, base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = name.rpartition("-")[2]
    given = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    assert {"model", "lr", "epochs", "batch", "beta" if method == "capo" else "rank"} <= given.keys()
    words = ["train", method, "--config", name, "--model", str(base), "--task", "toy", "--tasks-dir", str(tasks_dir)]
    words += ["--from", str(sft)] if method == "capo" else []
    assert main([*words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["toy/Ann1"]["steps"] > 0


def test_the_dry_run_counts_pairs_per_annotator_pair_and_shows_ten(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "capo", "--model", str(base), "--from", str(sft), "--task", "toy", "--tasks-dir", str(tasks_dir)]
    assert main([*words, "--pairs", "all", "--out", str(tmp_path / "o"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    # ten items with a record of each of the two others
    assert "toy/Ann1: pairs 20, rejected_by {'Ann2': 10, 'Ann3': 10}, too_long 0" in shown
    assert shown.count("chosen: ") == 30
    assert not (tmp_path / "o").exists()


def test_the_recorded_settings_hold_no_option_of_another_method() -> None:
    assert "beta" not in to_toml(Config("sft", "m"))
    capo = tomllib.loads(to_toml(Config("capo", "m", start="runs/sft")))
    assert (capo["lr"], capo["epochs"], capo["beta"], capo["tau"], capo["from"]) == (1e-5, 2.0, 0.1, 1, "runs/sft")


@pytest.mark.slow
def test_half_precision_trains_adapters_of_full_precision(base: Path, tasks_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    settings = config(base, dtype="bfloat16", epochs=4, annotator=("Ann1",), gradient_checkpointing=True)
    folder = train(settings, tmp_path / "half", tasks_dir=tasks_dir, quiet=True, device="cpu") / "toy" / "Ann1"
    assert read_json(folder / "manifest.json")["base"]["dtype"] == "bfloat16"
    assert {str(t.dtype) for t in load_file(folder / "adapter_model.safetensors").values()} == {"torch.float32"}
    losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_policy_and_reference_are_one_before_the_first_step(
    base: Path, tasks_dir: Path, sft: Path, tmp_path: Path, dtype: str
) -> None:
    settings = config(base, "capo", start=str(sft), select="last", annotator=("Ann1",), dtype=dtype, batch=20)
    folder = (
        train(settings, tmp_path / "capo", tasks_dir=tasks_dir, quiet=True, device="cpu", micro=16) / "toy" / "Ann1"
    )
    first = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    # -ln σ(0) = ln 2 where both give every answer the same probability, computed in the same precision
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6 if dtype == "float32" else 2e-4)
