"""Which adapter answers for which annotator, and what its files tell before a model is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ..errors import AdapterError, DataError, ModelError, UsageError, all_problems, first_lines
from ..io import dump_json, read_document, read_json, sha256_file, sha256_text, write_atomic
from ..types import Pair, Task
from .smollm2 import NAME as EMBEDDED
from .smollm2 import fetch_embedded

CONFIG, WEIGHTS, RECORD = "adapter_config.json", "adapter_model.safetensors", "hlvbench.json"
PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "adapter_model.pkl")
STRAY = "ref"
FETCHED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.py"]
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
_TOKENIZER = (
    "tokenizer.json tokenizer_config.json tokenizer.model vocab.json merges.txt vocab.txt special_tokens_map.json "
    "added_tokens.json chat_template.jinja chat_template.json"
).split()
# types whose adapters keep nothing in common; of others (VeRA's projections, say) each gets its own base
_SHARING = (
    "LORA ADALORA IA3 LOHA LOKR OFT BOFT HRA MISS FOURIERFT SHIRA ROAD C3A LN_TUNING PROMPT_TUNING PREFIX_TUNING "
    "P_TUNING"
).split()
# values of init_lora_weights that leave the base as it is
_HARMLESS_INITS = (True, False, None, "gaussian", "orthogonal", "eva", "mica")
# initialisations that change the base by what no adapter's files hold: activations, gradients, random numbers
_LOST_INITS = ("corda", "lora_ga", "pissa_niter")
# keys of a LoRA's adapter_config.json that concern its own matrices alone
_OWN_LORA_KEYS = (
    "peft_type task_type auto_mapping base_model_name_or_path revision inference_mode peft_version r lora_alpha "
    "lora_dropout lora_bias target_modules exclude_modules layers_to_transform layers_pattern rank_pattern "
    "alpha_pattern fan_in_fan_out use_rslora use_dora modules_to_save init_lora_weights bias eva_config loftq_config "
    "megatron_core qalora_group_size"
).split()
_UNLESS = ", or say --base-matches if it is that very model under another name"
# keys of a config.json that do not change what the model computes
_VOLATILE = {"transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache"}


class AdapterRecord(TypedDict, total=False):
    """What is read again of the hlvbench.json beside an adapter."""

    task: str | None
    annotator: str | None
    base: dict[str, str | None] | None


@dataclass(frozen=True)
class Base:
    """A base model: as the user named it, and the hashes of what it is."""

    name: str
    config_sha256: str
    weights_sha256: str
    tokenizer_sha256: str = ""


@dataclass
class AdapterPlan:
    """Which adapter answers for whom.

    Attributes:
        folders: (task, annotator) -> the folder of the adapter.
        problems: All that is wrong so far.
        missing: Who has no adapter -> where it was looked for.
        shared: One adapter answers for everybody; only the prompt names the annotator.
    """

    folders: dict[Pair, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: dict[Pair, str] = field(default_factory=dict)
    shared: bool = False

    @property
    def adapters(self) -> list[Path]:
        """Every adapter once."""
        return list(dict.fromkeys(self.folders.values()))

    def check_files(self, base: Base, base_matches: bool | None = None) -> list[Path]:
        """Note what is wrong with the adapters' files; the adapters without a problem.

        Args:
            base: The base model that they are put on.
            base_matches: Whether the user says that it is theirs, whatever is recorded.
        """
        sound = []
        for folder in self.adapters:
            assigned = [pair for pair, found in self.folders.items() if found == folder]
            problems = list(_file_problems(folder, assigned, base, self.shared, base_matches))
            self.problems += problems
            sound += [] if problems else [folder]
        return sound

    def raise_problems(self) -> None:
        """An AdapterError with all problems, if there are any."""
        if problems := [*self.missing.values(), *self.problems]:
            count = len(problems)
            heading = f"the adapters cannot be used, {count} problem{'s' * (count > 1)}; nothing was begun:"
            raise AdapterError(all_problems(heading, problems))


def find_adapters(
    adapter_dir: str,
    tasks: Mapping[str, Sequence[str]],
    option: str = "--adapter-dir",
    others: Mapping[str, Collection[str]] | None = None,
) -> AdapterPlan:
    """Resolve the adapters below a folder or hub repo, of a shape of docs/cli.md.

    DIR/<task>/<Ann>/, or DIR/<Ann>/ for one task only, or DIR itself one adapter shared by all.

    Args:
        adapter_dir: The folder or `org/name[@revision]`.
        tasks: Name -> the annotators that need an adapter.
        option: What the user named the folder by.
        others: More annotators of the tasks, whose adapters are left aside.
    """
    root, others = local_folder(adapter_dir, option), others or {}
    below = {folder.name for folder in _folders(root)}
    plan = AdapterPlan()
    everybody = {a for annotators in tasks.values() for a in annotators}
    if _holds_adapter(root):
        plan.shared = True
        plan.folders = {(task, a): root for task, annotators in tasks.items() for a in annotators}
        for name in sorted(below & {*everybody, *tasks}):
            plan.problems.append(
                f"{root} is itself an adapter and also holds {name}/: it is not clear which of them is meant; "
                f"move one of them away"
            )
        _check_stray(plan, root, everybody)
        return plan
    by_annotator = sorted(below & everybody)
    if below & {*tasks} or not by_annotator:
        if not below:
            name, annotators = next(iter(tasks.items()))
            raise AdapterError(
                f"{option} {adapter_dir}: expected {root}/{name}/{annotators[0]}/{CONFIG} and so on, or "
                f"{root}/{CONFIG}; there is no folder in it"
            )
        for name, annotators in tasks.items():
            _take(plan, root / name, name, annotators, others.get(name, ()))
    elif len(tasks) > 1:
        raise AdapterError(
            f"{option} {adapter_dir} holds {', '.join(by_annotator)} directly, and {' and '.join(tasks)} are "
            f"asked: {by_annotator[0]} of one task and of another are different people; name one by --task, or "
            f"sort the adapters into {root}/TASK/ANNOTATOR/"
        )
    else:
        ((name, annotators),) = tasks.items()
        _take(plan, root, name, annotators, others.get(name, ()))
    return plan


def others_of(tasks: Iterable[Task]) -> dict[str, set[str]]:
    """Everybody who left a record, per task."""
    return {task.name: {record.annotator for record in task.records} for task in tasks}


def _take(plan: AdapterPlan, folder: Path, task: str, annotators: Sequence[str], others: Collection[str]) -> None:
    """The adapters of one task: a folder per annotator."""
    for annotator in annotators:
        place = folder / annotator
        if _holds_adapter(place):
            plan.folders[task, annotator] = place
            _check_stray(plan, place, ())
            continue
        inner = [p for p in _folders(place) if _holds_adapter(p) and p.name != STRAY]
        hint = f"; {inner[0]} holds one: move its files up" if len(inner) == 1 else ""
        plan.missing[task, annotator] = (
            f"{task}: annotator {annotator} has no adapter (looked for {place / CONFIG}){hint}"
        )
    _check_stray(plan, folder, annotators)
    for place in _folders(folder):
        if _holds_adapter(place) and place.name not in {*annotators, *others, STRAY}:
            plan.problems.append(
                f"{place}: an adapter for {place.name}, who is no annotator of {task} ({', '.join(annotators)})"
            )


def _check_stray(plan: AdapterPlan, folder: Path, annotators: Collection[str]) -> None:
    stray = folder / STRAY
    if STRAY not in annotators and _holds_adapter(stray):
        plan.problems.append(
            f"{stray}: a leftover of preference training (the frozen reference, written by trl), not an annotator's "
            f"adapter; check that {folder} holds what you want, then delete {stray}"
        )


def _folders(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_dir()] if folder.is_dir() else []


def _holds_adapter(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, *PICKLES))


def local_folder(
    place: str, what: str = "--adapter-dir", revision: str | None = None, error: type[ModelError] = AdapterError
) -> Path:
    """`place` as a folder: the embedded model by its name, a local folder, or a hub repo `org/name[@revision]`, which
    is fetched (no pickles)."""
    if place == EMBEDDED:
        return fetch_embedded()
    root = Path(place).expanduser()
    if root.is_dir():
        return root
    match = _HUB_ID.fullmatch(place)
    if root.exists() or not match:
        raise error(f"{what} {place}: no such folder, and no hub id (org/name or org/name@revision) either")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(match[1], revision=match[2] or revision, allow_patterns=FETCHED))
    except Exception as problem:  # the hub's many errors share no base class
        reason = first_lines(problem)
        raise error(f"{what} {place}: no such folder here, and the hub did not give it: {reason}") from None


def parse_model_map(words: Mapping[str, str], tasks: Mapping[str, Sequence[str]]) -> dict[Pair, str]:
    """`--model-map Ann1=PLACE` or `task/Ann1=PLACE` (needed with several tasks) by (task, annotator)."""
    found: dict[Pair, str] = {}
    problems = []
    for key, place in words.items():
        task, slash, annotator = key.rpartition("/")
        if not slash and len(tasks) > 1:
            problems.append(f"{key}: {' and '.join(tasks)} are asked; write {next(iter(tasks))}/{key}={place}")
            continue
        task = task or next(iter(tasks))
        if annotator not in tasks.get(task, ()):
            problems.append(f"{key}: no such annotator of {task}")
        else:
            found[task, annotator] = place
    missing = [f"{t}/{a}: no model" for t, annotators in tasks.items() for a in annotators if (t, a) not in found]
    if problems or (words and missing):
        raise UsageError(all_problems("--model-map does not fit the tasks:", [*problems, *missing]))
    return found


def _file_problems(
    folder: Path, assigned: Sequence[Pair], base: Base, shared: bool, base_matches: bool | None
) -> Iterator[str]:
    """All that is wrong with the files of an adapter, which is untrusted input, for these (task, annotator) pairs."""
    try:
        config = read_json(folder / CONFIG)
        if not isinstance(config, dict) or not config.get("peft_type"):
            raise DataError(f"{folder / CONFIG}: names no peft_type")
    except DataError as error:
        yield str(error)
        config = {}
    record: Mapping[str, Any] = {}
    if (folder / RECORD).exists():
        try:
            record = read_document(folder / RECORD, AdapterRecord)
        except DataError as error:
            yield str(error)
    if not base_matches:
        yield from _base_problems(folder, config, record.get("base") or {}, base)
    if str(init := config.get("init_lora_weights")).startswith(_LOST_INITS):
        yield (
            f"{folder / CONFIG}: init_lora_weights {init} changed the base by what is not kept beside the adapter, so "
            f"it cannot answer as it was trained; save it as a plain LoRA: "
            f"save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    for task, annotator in dict.fromkeys((task, "everybody") for task, _ in assigned) if shared else assigned:
        for key, asked in (("task", task), ("annotator", annotator)):
            if record.get(key) not in (None, asked):
                yield f"{folder / RECORD} records {key} {record[key]}, but it is asked to answer for {asked}"
    yield from _weight_problems(folder)


def _base_problems(folder: Path, config: Mapping[str, Any], record: Mapping[str, Any], base: Base) -> Iterator[str]:
    for key in ("config_sha256", "weights_sha256"):
        if record.get(key) not in (None, getattr(base, key)):
            yield (
                f"{folder / RECORD}: trained on {record.get('name', 'another base')} with {key} {record[key][:12]}, "
                f"but {base.name} has {getattr(base, key)[:12]}; give --model the base it was trained on{_UNLESS}"
            )
            return
    name = str(config.get("base_model_name_or_path") or "")
    proven = record.get("weights_sha256") == base.weights_sha256 or _has_weights(Path(name), base)
    if name and called(name) != called(base.name) and not proven:
        yield (f"{folder / CONFIG}: trained on the base {name}, but --model is {base.name}; give that base{_UNLESS}")


def called(place: str) -> str:
    """The model that a hub id or a path names, whoever copied or quantised it: its last word, in small letters.

    Paths into the hub's cache and into Kaggle's models say it elsewhere than at their end.
    """
    path = place.replace("\\", "/").rstrip("/")
    word = path.rsplit("/", 1)[-1].split("@")[0]
    if cached := re.search(r"models--[^/]*?--([^/]+)/snapshots/", f"{path}/"):
        word = cached[1]
    elif kaggle := re.search(r"/(?:kaggle/input|kagglehub/models/[^/]+)/([^/]+)/[^/]+/([^/]+)/\d+$", path):
        family, variation = kaggle[1], kaggle[2]
        word = variation if variation.lower().startswith(family.lower()) else f"{family}-{variation}"
    plain = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    return re.sub(r"^meta-(?=llama)|(-unsloth)?(-bnb)?-[48]bit$|-gptq(-.*)?$|-awq(-.*)?$", "", plain)


def _has_weights(folder: Path, base: Base) -> bool:
    return folder.is_absolute() and (folder / "config.json").is_file() and weights_sha256(folder) == base.weights_sha256


def _weight_problems(folder: Path) -> Iterator[str]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = [name for name in PICKLES if (folder / name).exists()]
        if pickles:
            yield (
                f"{folder / pickles[0]}: a pickle, which can run any code when it is opened and is never loaded; "
                f"save the adapter again as {WEIGHTS}"
            )
        else:
            yield f"{folder}: no {WEIGHTS}"
        return
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        yield f"{path}: cannot be read ({error}); it is truncated or no safetensors file"
        return
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        yield f"{path}: NaN or infinite values in {len(broken)} tensors, the first is {broken[0]}"
    elif not tensors:
        yield f"{path}: holds no tensors"
    elif _is_zero(tensors):
        yield f"{path}: the adapter's delta is zero: it was never trained, and would answer as the base model does"


def _is_zero(tensors: Mapping[str, Any]) -> bool:
    """Whether the weights provably change nothing; what cannot be told here shows in the probe."""
    if all(".ia3_" in key for key in tensors):
        return all(bool((t == 1).all()) for t in tensors.values())
    if not all("lora_A" in key or "lora_B" in key for key in tensors):
        return False
    live = {key for key, t in tensors.items() if bool(t.any())}
    return not any("lora_A" in key and key.replace("lora_A", "lora_B") in live for key in live)


def seat(folder: Path) -> str:
    """Adapters with the same value may share one base in memory; one that changes the base has a value of its own."""
    config = read_json(folder / CONFIG)
    kind, init = str(config["peft_type"]), config.get("init_lora_weights")
    shares = kind in _SHARING and config.get("bias", "none") == "none" and init in _HARMLESS_INITS
    if kind == "LORA":
        shares &= not any(value for key, value in config.items() if key not in _OWN_LORA_KEYS)
    return kind if shares else f"{kind} {folder}"


def config_sha256(path: Path) -> str:
    """The hash of a model's config.json without the keys that do not change what it computes."""
    config = {k: v for k, v in read_document(path, dict[str, Any]).items() if k not in _VOLATILE}
    return sha256_text(json.dumps(config, sort_keys=True))


def weights_sha256(folder: Path) -> str:
    """The hash of a folder's safetensors: of the one file, or of the list of names and hashes of several."""
    found = {path.name: _blob_sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return next(iter(found.values())) if len(found) == 1 else sha256_text(json.dumps(found, sort_keys=True))


def _blob_sha256(path: Path) -> str:
    """The hub's cache names large files by their sha256; other files are read."""
    name = path.resolve().name
    return name if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", name) else sha256_file(path)


def write_record(folder: Path, task: str, annotator: str | None, base: Base) -> None:
    """Record beside a trained adapter whom it answers for and on which base; adapter validation holds runs to it."""
    write_atomic(folder / RECORD, dump_json({"task": task, "annotator": annotator, "base": vars(base)}))


def tokenizer_sha256(folder: Path) -> str:
    """The hash of a folder's tokenizer files, chat template included."""
    found = {name: sha256_file(folder / name) for name in _TOKENIZER if (folder / name).is_file()}
    return sha256_text(json.dumps(found, sort_keys=True))


def identify(name: str, folder: Path) -> Base:
    """What a model folder is, under the name the user gave it."""
    return Base(name, config_sha256(folder / "config.json"), weights_sha256(folder), tokenizer_sha256(folder))
