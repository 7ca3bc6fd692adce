"""Adapter validation: each thing that peft would run with is one clear error before any generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hlvbench.errors import AdapterError, UsageError
from hlvbench.models.adapters import called, find_adapters, identify, parse_model_map, write_record
from hlvbench.models.hf import load_hf
from hlvbench.settings import Settings
from tests.tiny import edit_json, tiny_adapter, tiny_model
from tests.toy import toy_task

TASK = toy_task(annotators=2, items=(2, 2, 2))
ONE, TWO = {"toy": ("Ann1", "Ann2")}, {"toy": ("Ann1", "Ann2"), "more": ("Ann1", "Ann2", "Ann3")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and two sound LoRA adapters on it."""
    folder = tmp_path_factory.mktemp("made")
    base = tiny_model(folder / "base")
    for seed, name in enumerate(("Ann1", "Ann2")):
        tiny_adapter(folder / "adapters" / name, base, seed=seed)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The adapters, free to be broken."""
    shutil.copytree(made / "adapters", tmp_path / "adapters")
    return tmp_path / "adapters"


def load(made: Path, adapters: Path) -> Any:
    settings = Settings(str(made / "base"), task=("toy",), adapter_dir=str(adapters), max_new_tokens=4)
    return load_hf(settings, [TASK])["toy"]


def problems(made: Path, adapters: Path) -> list[str]:
    with pytest.raises(AdapterError) as error:
        load(made, adapters)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def change(folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Rewrite an adapter's weights."""
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(edit(load_file(path)), path)


def folder_of(root: Path, *places: str) -> Path:
    for place in places:
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / "adapter_config.json").write_text("{}")
    return root


def test_sound_adapters_pass(made: Path, copy: Path) -> None:
    assert set(load(made, copy).describe()["adapters"]) == {"Ann1", "Ann2"}


def test_a_folder_per_task_and_annotator(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "toy/Ann1", "toy/Ann2", "more/Ann1", "more/Ann2", "more/Ann3", "unasked/Ann1")
    plan = find_adapters(str(root), TWO)
    assert plan.problems == []
    assert plan.folders["more", "Ann2"] == root / "more" / "Ann2"
    assert plan.folders["toy", "Ann2"] == root / "toy" / "Ann2"
    assert len(plan.folders) == 5


def test_a_folder_per_annotator_serves_one_task_only(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "Ann1", "Ann2")
    assert find_adapters(str(root), ONE).folders["toy", "Ann2"] == root / "Ann2"
    with pytest.raises(AdapterError, match="different people"):
        find_adapters(str(root), TWO)


def test_the_folder_itself_is_shared_by_all(tmp_path: Path) -> None:
    plan = find_adapters(str(folder_of(tmp_path, ".")), TWO)
    assert plan.shared
    assert set(plan.folders.values()) == {tmp_path}
    assert len(plan.folders) == 5


def test_a_shared_adapter_that_also_holds_annotators_is_ambiguous(tmp_path: Path) -> None:
    assert "not clear" in find_adapters(str(folder_of(tmp_path, ".", "Ann1")), ONE).problems[0]


def test_all_that_a_scan_finds_is_reported_at_once(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "toy/Ann1", "toy/Ann1/ref", "toy/Ann9", "toy/ref", "more/Ann1/Ann1", "more/Ann2")
    (root / "toy" / "logs").mkdir()
    plan = find_adapters(str(root), TWO)
    found = "\n".join([*plan.missing.values(), *plan.problems])
    for words in ("annotator Ann2 has no adapter", "Ann9, who is no annotator of toy", "more: annotator Ann3 has no"):
        assert words in found
    assert found.count("leftover of preference training") == 2
    assert "Ann1/Ann1 holds one: move its files up" in found
    assert "logs" not in found


def test_ref_may_be_an_annotators_name(tmp_path: Path) -> None:
    plan = find_adapters(str(folder_of(tmp_path, "Ann1", "ref")), {"toy": ("Ann1", "ref")})
    assert plan.problems == []
    assert plan.folders["toy", "ref"] == tmp_path / "ref"


def test_a_place_that_is_neither_folder_nor_hub_id_says_so(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no such folder"):
        find_adapters(str(tmp_path / "none"), ONE)
    with pytest.raises(AdapterError, match="there is no folder in it"):
        find_adapters(str(tmp_path), ONE)


def test_a_hub_repo_that_is_not_at_hand_offline_says_so() -> None:
    with pytest.raises(AdapterError, match="the hub did not give it"):
        find_adapters("nobody-here/no-adapters@main", ONE)


def test_a_hub_repo_is_fetched_without_pickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot(repo: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.update(repo=repo, revision=revision, patterns=allow_patterns)
        return str(folder_of(tmp_path, "Ann1", "Ann2"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_adapters("org/name@v1.2", ONE).folders["toy", "Ann1"] == tmp_path / "Ann1"
    assert (asked["repo"], asked["revision"]) == ("org/name", "v1.2")
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in asked["patterns"])


def test_an_annotator_without_an_adapter(made: Path, copy: Path) -> None:
    shutil.rmtree(copy / "Ann2")
    (found,) = problems(made, copy)
    assert "toy: annotator Ann2 has no adapter" in found


def test_a_stray_reference_of_preference_training(made: Path, copy: Path) -> None:
    shutil.copytree(copy / "Ann1", copy / "Ann1" / "ref")
    (found,) = problems(made, copy)
    assert str(copy / "Ann1" / "ref") in found


def test_a_pickle_is_refused_by_name(made: Path, copy: Path) -> None:
    (copy / "Ann1" / "adapter_model.safetensors").unlink()
    (copy / "Ann1" / "adapter_model.bin").write_bytes(b"never opened")
    (found,) = problems(made, copy)
    assert str(copy / "Ann1" / "adapter_model.bin") in found
    assert "never loaded" in found


def test_truncated_weights(made: Path, copy: Path) -> None:
    path = copy / "Ann1" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    (found,) = problems(made, copy)
    assert "cannot be read" in found


def test_missing_keys(made: Path, copy: Path) -> None:
    change(copy / "Ann1", lambda t: {k: v for k, v in t.items() if "layers.0.self_attn.q_proj" not in k})
    (found,) = problems(made, copy)
    # the low-rank pair of one module
    assert "2 missing keys" in found
    assert "layers.0.self_attn.q_proj" in found


def test_unexpected_keys(made: Path, copy: Path) -> None:
    extra = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"
    change(copy / "Ann2", lambda t: {**t, extra: next(iter(t.values())).clone()})
    (found,) = problems(made, copy)
    assert "1 unexpected keys" in found
    assert "layers.7" in found


def test_an_adapter_of_a_wider_base(made: Path, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "Ann1")
    tiny_adapter(copy / "Ann1", tiny_model(tmp_path / "wider" / "base", hidden=64))
    (found,) = problems(made, copy)
    assert "does not fit the base" in found
    assert "size mismatch" in found


def test_modules_that_the_base_has_not(made: Path, copy: Path) -> None:
    edit_json(copy / "Ann1" / "adapter_config.json", target_modules=["c_attn"])
    (found,) = problems(made, copy)
    assert "does not fit the base" in found


def test_another_base_by_name(made: Path, copy: Path) -> None:
    edit_json(copy / "Ann1" / "adapter_config.json", base_model_name_or_path="org/Another-3B")
    (found,) = problems(made, copy)
    assert "trained on the base org/Another-3B" in found


def test_one_base_under_a_path_and_a_hub_id_is_one(made: Path, copy: Path) -> None:
    cached = "/cache/hub/models--org--Base/snapshots/0123abc"
    edit_json(copy / "Ann1" / "adapter_config.json", base_model_name_or_path="org/Base")
    edit_json(copy / "Ann2" / "adapter_config.json", base_model_name_or_path=cached)
    load(made, copy)


BASE = "meta-llama/Llama-3.2-3B-Instruct"
SAME = (
    "C:\\Users\\me\\models\\Llama-3.2-3B-Instruct",
    "C:\\Users\\me\\.cache\\huggingface\\hub\\models--meta-llama--Llama-3.2-3B-Instruct\\snapshots\\0123abc",
    "/kaggle/input/llama-3.2/transformers/3b-instruct/1",
    "/cache/kagglehub/models/metaresearch/llama-3.2/transformers/3b-instruct/1",
    "/kaggle/input/llama-3-2-3b-instruct",
    "/content/drive/MyDrive/models/Llama-3.2-3B-Instruct/",
    "/cache/modelscope/hub/models/LLM-Research/Llama-3___2-3B-Instruct",
    "/mnt/cache/models--meta-llama--Llama-3.2-3B-Instruct/snapshots/0123abc/",
    "unsloth/Llama-3.2-3B-Instruct",
    "unsloth/llama-3.2-3b-instruct-bnb-4bit",
    "unsloth/Llama-3.2-3B-Instruct-unsloth-bnb-4bit",
    "meta-llama/Llama-3.2-3B-Instruct@main",
)
OTHER = (
    "meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-3B", "unsloth/Llama-3.2-3B-bnb-4bit",
    "/kaggle/input/llama-3.2/transformers/1b-instruct/1", "C:\\models\\Llama-3.1-8B-Instruct", "/content/model",
)  # fmt: skip


def test_a_base_is_known_by_what_identifies_it_wherever_it_lies() -> None:
    assert {called(place) for place in (BASE, *SAME)} == {"llama-3-2-3b-instruct"}
    assert not {called(place) for place in OTHER} & {called(BASE)}
    assert called("/kaggle/input/gemma-2/transformers/gemma-2-2b-it/2") == called("google/gemma-2-2b-it")
    assert called("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit") == called("meta-llama/Llama-3.1-8B-Instruct")


@pytest.mark.parametrize("recorded", ["name", "hash"])
def test_the_user_may_say_that_the_base_matches(made: Path, copy: Path, tmp_path: Path, recorded: str) -> None:
    if recorded == "name":
        edit_json(copy / "Ann1" / "adapter_config.json", base_model_name_or_path="/content/model")
    else:
        write_record(copy / "Ann1", "toy", "Ann1", identify("base", tiny_model(tmp_path / "base", seed=5)))
    (found,) = problems(made, copy)
    assert "say --base-matches if it is that very model" in found
    settings = Settings(str(made / "base"), ("toy",), str(copy), max_new_tokens=4, base_matches=True)
    assert len(load_hf(settings, [TASK])["toy"].describe()["adapters"]) == 2


def test_one_base_under_two_paths_is_one_by_its_weights(made: Path, copy: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "base", tmp_path / "renamed")
    edit_json(copy / "Ann1" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "renamed"))
    load(made, copy)


def test_a_base_recorded_by_hash_is_held_to_it(made: Path, copy: Path, tmp_path: Path) -> None:
    write_record(copy / "Ann1", "toy", "Ann1", identify("base", made / "base"))
    load(made, copy)
    other = tiny_model(tmp_path / "base", seed=5)
    write_record(copy / "Ann1", "toy", "Ann1", identify("base", other))
    (found,) = problems(made, copy)
    assert "weights_sha256" in found


def test_a_task_or_annotator_recorded_beside_the_adapter_is_held_to_it(made: Path, copy: Path) -> None:
    base = identify("base", made / "base")
    write_record(copy / "Ann1", "toy", "Ann2", base)
    write_record(copy / "Ann2", "varierr", "Ann2", base)
    found = problems(made, copy)
    assert len(found) == 2
    assert "records annotator Ann2, but it is asked to answer for Ann1" in found[0]
    assert "records task varierr" in found[1]


def test_a_delta_of_zero(made: Path, copy: Path) -> None:
    shutil.rmtree(copy / "Ann1")
    tiny_adapter(copy / "Ann1", made / "base", train=False)
    (found,) = problems(made, copy)
    assert "delta is zero" in found


def test_pairs_of_which_one_half_is_zero_are_a_zero_delta(made: Path, copy: Path) -> None:
    # B is zero in layer 0 and A in layer 1: every product is
    halves = ("layers.0", "lora_B"), ("layers.1", "lora_A")
    change(
        copy / "Ann1", lambda t: {k: v * 0 if any(a in k and b in k for a, b in halves) else v for k, v in t.items()}
    )
    (found,) = problems(made, copy)
    assert "delta is zero" in found


def test_no_effect_on_the_probe(made: Path, copy: Path) -> None:
    # the scale is lora_alpha / r
    edit_json(copy / "Ann2" / "adapter_config.json", lora_alpha=0)
    (found,) = problems(made, copy)
    assert "no effect on the logits of a probe prompt" in found


@pytest.mark.parametrize("kind", ["dora", "ia3"])
def test_untrained_adapters_of_other_types(made: Path, copy: Path, kind: str) -> None:
    shutil.rmtree(copy)
    for name in ("Ann1", "Ann2"):
        tiny_adapter(copy / name, made / "base", kind, train=False)
    found = problems(made, copy)
    assert len(found) == 2
    assert all("no effect" in p or "delta is zero" in p for p in found)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(made: Path, copy: Path, value: float) -> None:
    def spoil(tensors: dict[str, Any]) -> dict[str, Any]:
        next(iter(tensors.values())).view(-1)[3] = value
        return tensors

    change(copy / "Ann1", spoil)
    (found,) = problems(made, copy)
    assert "NaN or infinite values in 1 tensors" in found


@pytest.mark.parametrize("init", ["pissa_niter_4", "lora_ga", "corda"])
def test_a_start_that_nothing_records_is_refused(made: Path, copy: Path, init: str) -> None:
    # drawn at random, or made from gradients or activations: loading gives another model than was trained
    edit_json(copy / "Ann2" / "adapter_config.json", init_lora_weights=init)
    (found,) = problems(made, copy)
    assert f"init_lora_weights {init}" in found
    assert "path_initial_model_for_weight_conversion" in found


def test_adapters_that_disturb_each_other_are_refused(made: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if this initialisation were taken for one that leaves the base alone
    shutil.rmtree(copy / "Ann2")
    tiny_adapter(copy / "Ann2", made / "base", init_lora_weights="pissa")
    monkeypatch.setattr("hlvbench.models.hf.seat", lambda folder: "LORA")
    found = problems(made, copy)
    assert [p.partition(":")[0] for p in found] == [str(copy / "Ann1"), str(copy / "Ann2")]
    assert all("answers otherwise than alone; merge it" in p for p in found)


def test_whole_layers_of_the_base(made: Path, copy: Path) -> None:
    import torch

    change(copy / "Ann1", lambda t: {**t, "base_model.model.model.embed_tokens.weight": torch.zeros(45, 32)})
    (found,) = problems(made, copy)
    assert "carries whole layers of the base" in found


def test_another_chat_template_beside_the_adapter(made: Path, copy: Path) -> None:
    shutil.copy(made / "base" / "chat_template.jinja", copy / "Ann1")
    load(made, copy)
    (copy / "Ann1" / "chat_template.jinja").write_text("{{ messages[0]['content'] }} now answer")
    (found,) = problems(made, copy)
    assert "renders prompts otherwise" in found


def test_an_unreadable_config(made: Path, copy: Path) -> None:
    (copy / "Ann1" / "adapter_config.json").write_text('{"peft_type":')
    (found,) = problems(made, copy)
    assert "adapter_config.json: not valid JSON" in found


def test_problems_of_files_and_of_loading_come_together(made: Path, copy: Path) -> None:
    (copy / "Ann1" / "adapter_model.safetensors").unlink()
    edit_json(copy / "Ann2" / "adapter_config.json", lora_alpha=0)
    found = problems(made, copy)
    assert len(found) == 2
    assert "no adapter_model.safetensors" in found[0]
    assert "no effect" in found[1]


def test_a_model_map_names_every_annotator_of_every_task() -> None:
    assert parse_model_map({"Ann1": "a", "toy/Ann2": "b"}, ONE) == {("toy", "Ann1"): "a", ("toy", "Ann2"): "b"}
    with pytest.raises(UsageError) as error:
        parse_model_map({"Ann1": "a", "toy/Ann7": "b"}, TWO)
    for words in ("write toy/Ann1=a", "toy/Ann7: no such annotator", "more/Ann3: no model"):
        assert words in str(error.value)
