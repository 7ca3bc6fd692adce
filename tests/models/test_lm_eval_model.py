"""A backend of lm-eval behind `hlvbench run`; the hf one gives what our own transformers model gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlvbench.cli import main
from hlvbench.errors import ModelError
from hlvbench.io import read_generations
from hlvbench.models.lm_eval_backend import LmEval, _default_arguments
from hlvbench.models.loading import CPU_BATCH
from hlvbench.settings import Settings
from tests.chat_server import chat_server, said
from tests.generation.test_run import tasks_dir  # noqa: F401
from tests.tiny import tiny_model

pytest.importorskip("lm_eval")


def generate(model: str, tasks: Path, out: Path, *more: str) -> int:
    words = ["generate", "--task", "mine", "--tasks-dir", tasks, "--model", model, "--max-new-tokens", "12", "-q"]
    return main([*map(str, words), "--device", "cpu", "--batch-size", "5", "--out", str(out), *more])


@pytest.mark.parametrize("chat", [True, False])
def test_the_hf_backend_sees_the_prompts_and_gives_the_texts_of_our_own_model(chat, tasks_dir, tmp_path):  # noqa: F811
    model = tiny_model(tmp_path / "model", chat=chat, context=512)
    assert generate(str(model), tasks_dir, tmp_path / "ours") == 0
    assert generate(f"lm-eval:hf,pretrained={model}", tasks_dir, tmp_path / "theirs") == 0
    files = (read_generations(tmp_path / run / "mine" / "generations.jsonl") for run in ("ours", "theirs"))
    # of random weights, whose texts lose special tokens: the count that is told from a text is not compared here
    ours, theirs = ([(r.item, r.annotator, r.text, r.prompt_sha256) for r in rows] for rows in files)
    assert len({text for _, _, text, _ in ours}) > 1
    assert theirs == ours
    told = json.loads((tmp_path / "theirs" / "manifest.json").read_text())["tasks"]["mine"]["model"]
    own = json.loads((tmp_path / "ours" / "manifest.json").read_text())["tasks"]["mine"]["model"]
    assert (told["backend"], told["chat_template"]) == ("hf", chat)
    assert told["weights_sha256"] == own["weights_sha256"]


def test_a_backend_that_takes_messages_sends_them_as_our_own_endpoint_does(tasks_dir, tmp_path):  # noqa: F811
    with chat_server(lambda body, n: said("Label: yes\nExplanation: so")) as server:
        chat = f"lm-eval:local-chat-completions,model=m,base_url={server.url}/chat/completions"
        assert generate(chat, tasks_dir, tmp_path / "theirs") == 0
        theirs = server.contents()
        words = ["generate", "--task", "mine", "--tasks-dir", tasks_dir, "--model", "endpoint:m", "-q"]
        assert main([*map(str, words), "--base-url", server.url, "--out", str(tmp_path / "ours")]) == 0
    assert theirs
    assert sorted(theirs) == sorted(server.contents()[len(theirs) :])
    rows = [read_generations(tmp_path / run / "mine" / "generations.jsonl") for run in ("ours", "theirs")]
    assert {r.text for r in rows[1]} == {"Label: yes\nExplanation: so"}
    assert [r.prompt_sha256 for r in rows[0]] == [r.prompt_sha256 for r in rows[1]]


def test_a_backend_that_is_unknown_or_does_not_load_is_one_message(tasks_dir, tmp_path, capsys):  # noqa: F811
    assert generate("lm-eval:no-such", tasks_dir, tmp_path / "a") == 2
    assert "lm-eval:no-such: cannot be loaded" in capsys.readouterr().err
    assert generate(f"lm-eval:hf,pretrained={tmp_path / 'nowhere'}", tasks_dir, tmp_path / "b") == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_options_that_a_backend_does_not_take_are_named(tasks_dir, tmp_path, capsys):  # noqa: F811
    more = ("--adapter-dir", str(tmp_path), "--temperature", "1")
    assert generate("lm-eval:hf,pretrained=x", tasks_dir, tmp_path / "a", *more) == 2
    assert "it does not take --adapter-dir, --temperature" in capsys.readouterr().err


def test_a_backend_is_told_what_it_takes_and_nothing_else():
    class Scheduling:
        def __init__(self, pretrained, device="cuda", batch_size=1, enable_thinking=True):
            pass

    class Bare:
        def __init__(self, base_url, **kwargs):
            pass

    settings = Settings("lm-eval:x", device="cpu", dtype="float32")
    assert _default_arguments("vllm", Scheduling, settings) == {
        "device": "cpu",
        "batch_size": "auto",
        "enable_thinking": False,
    }
    assert _default_arguments("hf", Scheduling, settings)["batch_size"] == CPU_BATCH
    assert _default_arguments("gguf", Bare, settings) == {}


class Backend:
    """A backend without a tokenizer, whose chat template is a function."""

    def __init__(self, template=None):
        if template:
            self.apply_chat_template = template


def test_a_chat_template_that_fails_is_an_error_and_a_backend_without_one_gets_the_plain_prompt():
    def fails_on(part):
        def template(messages):
            if part in messages[0]["content"]:
                raise TypeError("no such filter")
            return messages[0]["content"]

        return template

    def model(template=None, backend="x"):
        return LmEval(Settings("lm-eval:x"), backend, {}, Backend(template), 1)

    assert model().prompt_text("one two") == "one two\n"
    assert model().count_tokens("one two") == 2  # words, where there is no tokenizer
    # lm-eval wraps messages for every server, and one of plain completions takes text alone
    assert model(lambda messages: (messages,), "local-completions").prompt_text("one two") == "one two\n"
    assert model(lambda messages: (messages,), "local-chat-completions").prompt_text("one two") == "one two"
    with pytest.raises(ModelError, match="lm-eval:x: its chat template cannot be used: no such filter"):
        model(fails_on(""))
    with pytest.raises(ModelError, match="no such filter"):
        model(fails_on("two")).prompt_text("one two")


@pytest.mark.slow
def test_a_real_model_gives_the_very_file(data_dir, test_model, tmp_path):
    for name, model in (("ours", test_model), ("theirs", f"lm-eval:hf,pretrained={test_model}")):
        words = ("generate", "--task", "varierr", "--model", model, "--limit", "2", "--device", "cpu", "-q")
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    ours, theirs = ((tmp_path / run / "varierr" / "generations.jsonl").read_bytes() for run in ("ours", "theirs"))
    assert theirs == ours
