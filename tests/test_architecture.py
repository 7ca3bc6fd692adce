"""The architecture holds: layers, light imports, no dataset text, no machine's paths."""

from __future__ import annotations

import ast
import html
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# a module imports only from layers below its own; inside a package, from the others of it without a cycle
LAYERS = (
    "__init__ types errors text",
    "io processes",
    "bootstrap embeddings provenance settings",
    "data metrics",
    "prompting",
    "models",
    "baselines results",
    "generation",
    "api analysis training judging",
    "human_study submissions integrations",
    "leaderboard",
    "cli",
    "__main__",
)
LAYER = {name: layer for layer, names in enumerate(LAYERS, 1) for name in names.split()}

HEAVY = "torch transformers peft trl lm_eval inspect_ai openai sklearn scipy matplotlib pandas datasets".split()
HEAVY += "sentence_transformers bert_score".split()
MOST_LINES = 400
DATASET_WINDOW = 60


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of a package; the package itself is `name.__init__`."""
    return {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts)): path
        for path in sorted(package.rglob("*.py"))
    }


def imports(name: str, source: str, known: set[str]) -> set[str]:
    """The modules among `known` that the module `name` imports, anywhere in its source."""
    package = name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                inner = ".".join((*base, alias.name))
                is_module = inner in known or f"{inner}.__init__" in known
                found.add(inner if is_module else ".".join(base))
    return {m for wanted in found for m in (wanted, f"{wanted}.__init__") if m in known}


def part(name: str) -> str:
    """`hlvbench.metrics.decisions` -> `metrics`: the name that has a layer."""
    return name.split(".")[1]


def uphill(graph: dict[str, set[str]]) -> list[str]:
    """Every import that does not go to a lower layer or to the same package."""
    return [
        f"{source} (layer {LAYER[part(source)]}) imports {target} (layer {LAYER[part(target)]})"
        for source, targets in sorted(graph.items())
        for target in sorted(targets)
        if part(target) != part(source) and LAYER[part(target)] >= LAYER[part(source)]
    ]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules that lie on a cycle of imports or lead to one; empty where there is none."""
    left = dict(graph)
    while leaves := [name for name, targets in left.items() if not targets & left.keys() - {name}]:
        for name in leaves:
            del left[name]
    return sorted(left)


@cache
def package_graph() -> dict[str, set[str]]:
    files = modules(ROOT / "hlvbench")
    return {name: imports(name, path.read_text("utf-8"), set(files)) for name, path in files.items()}


@cache
def project_files() -> tuple[Path, ...]:
    """The files git tracks or would track; outside a checkout, the source folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("hlvbench", "tasks", "tests", "benchmarks", "submissions", "leaderboard")
        paths = [p for folder in folders for p in (ROOT / folder).rglob("*") if "__pycache__" not in p.parts]
        paths += [p for p in ROOT.iterdir() if not p.name.startswith(".")]
    return tuple(sorted(p for p in paths if p.is_file()))


def text_files() -> dict[str, str]:
    """Path from the root -> content, of every project file that is UTF-8 text."""
    found = {}
    for path in project_files():
        try:
            found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return found


def test_every_module_has_a_layer():
    unknown = {part(name) for name in package_graph()} - LAYER.keys()
    assert not unknown, f"give {sorted(unknown)} a layer in this file's table"


def test_imports_go_down():
    assert uphill(package_graph()) == []


def test_imports_inside_a_package_make_no_cycle():
    # a package's __init__ that re-exports its parts is imported with each of them: not a cycle of ours
    parts = {n: {t for t in ts if not t.endswith(".__init__")} for n, ts in package_graph().items()}
    assert cycle(parts) == []


@pytest.mark.parametrize(
    "line",
    [
        "from .models import open_model",
        "from . import models",
        "import hlvbench.models",
        "from hlvbench.models import models_run as s",
        "from hlvbench import models",
        "def late():\n    from .models import open_model",
        "if TYPE_CHECKING:\n    from .models import open_model",
    ],
)
def test_an_upward_import_is_seen_in_every_spelling(line):
    known = {"hlvbench.__init__", "hlvbench.types", "hlvbench.models"}
    assert "hlvbench.models" in imports("hlvbench.types", line, known)
    (found,) = uphill({"hlvbench.types": {"hlvbench.models"}})
    assert found.startswith("hlvbench.types (layer 1) imports hlvbench.models")


def test_a_relative_import_in_a_package_is_resolved_from_the_package():
    known = {"hlvbench.metrics.__init__", "hlvbench.metrics.decisions", "hlvbench.text", "hlvbench.__init__"}
    assert imports("hlvbench.metrics.group", "from .decisions import x", known) == {"hlvbench.metrics.decisions"}
    assert imports("hlvbench.metrics.group", "from ..text import x", known) == {"hlvbench.text"}
    assert imports("hlvbench.metrics.__init__", "from .decisions import x", known) == {"hlvbench.metrics.decisions"}
    assert imports("hlvbench.metrics.group", "from . import decisions", known) == {"hlvbench.metrics.decisions"}
    assert imports("hlvbench.metrics.group", "from . import thing", known) == {"hlvbench.metrics.__init__"}


def test_a_cycle_is_seen():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c"]
    assert cycle({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize("arguments", [["-c", "import hlvbench"], ["-m", "hlvbench", "--help"]])
def test_nothing_heavy_is_loaded(arguments):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in run.stderr.splitlines() if "|" in line}
    assert "hlvbench" in loaded
    assert not loaded & set(HEAVY)


def test_what_the_package_imports_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    core, optional = project["dependencies"], [r for name, rs in extras.items() if name != "dev" for r in rs]

    def names(requirements: list[str]) -> set[str]:
        return {re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", r)[0]).lower() for r in requirements}

    declared, distributions = names([*core, *optional]), packages_distributions()
    missing = set()
    for module, path in modules(ROOT / "hlvbench").items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            tops = []
            if isinstance(node, ast.Import):
                tops = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops = [str(node.module).split(".")[0]]
            for top in set(tops) - sys.stdlib_module_names - {"hlvbench"}:
                if not names(distributions.get(top, [top])) & declared:
                    missing.add(f"{module} imports {top}")
    assert sorted(missing) == []


def test_no_file_is_long():
    long = {
        name: lines
        for name, text in text_files().items()
        if name.endswith(".py") and (lines := text.count("\n")) > MOST_LINES
    }
    assert long == {}


def test_no_path_of_one_machine_stands_in_the_project():
    # assembled, so that this file does not name what it looks for
    telltales = ["../" + "shared", "/" + "work/", "/" + "home/", "/" + "root/", "/" + "Users/"]
    found = [
        f"{name}: {telltale}"
        for name, text in text_files().items()
        if name != ".ci/run"
        for telltale in telltales
        if telltale in text
    ]
    assert found == []


def test_the_package_unpickles_nothing():
    banned = re.compile(
        r"\b(?:pickle|cPickle|dill|joblib|cloudpickle|torch)\.loads?\(|\bimport pickle\b|allow_pickle=True"
    )
    found = [
        f"{name}: {match.group()}"
        for name, text in text_files().items()
        if name.startswith("hlvbench/") and name.endswith(".py") and (match := banned.search(text))
    ]
    assert found == []


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part_ in inner for text in _strings(part_)]


def _plain(text: str) -> str:
    """Without JSON and HTML escapes, lower case, runs of white space one space."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
    text = html.unescape(text.replace('\\"', '"').replace("\\n", " ").replace("\\/", "/"))
    return " ".join(text.lower().split())


def windows(text: str, width: int = DATASET_WINDOW) -> set[str]:
    """Every stretch of `width` characters of the plain text that begins where a word begins."""
    text = _plain(text)
    starts = (m.start() for m in re.finditer(r"\S+", text))
    return {text[s : s + width] for s in starts if s + width <= len(text)}


def test_a_copied_stretch_of_text_is_seen_through_escapes_and_line_breaks():
    original = 'The cat said "no" & left – a sentence made up here, long enough to be looked for in files.'
    copy = json.dumps({"text": html.escape("Well:\n  " + original[4:].replace("cat", "cat\n "))})
    assert windows(original) & windows(copy)
    assert not windows(original) & windows("Another sentence made up here, which is long enough to be looked for.")


def test_no_file_holds_dataset_text(data_dir):
    texts: set[str] = set()
    splits = [path for path in sorted((data_dir / "lewidi2025").glob("*.json")) if "_meta" not in path.name]
    for path in (data_dir / "varierr.json", *splits):
        content = path.read_text("utf-8")
        try:
            rows = json.loads(content)
        except json.JSONDecodeError:
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        texts.update(_strings(rows))
    banned = {window for text in texts for window in windows(text)}
    assert len(banned) > 10_000
    found = {name: sorted(hits)[0] for name, text in text_files().items() if (hits := banned & windows(text))}
    answers = {name for name in found if re.fullmatch(r"submissions/[^/]+/[^/]+/generations\.jsonl", name)}
    assert {name: hit for name, hit in found.items() if name not in answers} == {}
    # a model may have memorised what it read: its own text is no copy of ours, but its submission must count it
    assert [name for name in sorted(answers) if not memorises_as_declared(name, text_files()[name], banned)] == []


def memorises_as_declared(name: str, text: str, banned: set[str]) -> bool:
    """Whether the raw answers of a submission hold dataset text in no more rows than it says, and at most a quarter."""
    folder, task, _ = name.removeprefix("submissions/").split("/")
    card = tomllib.loads((ROOT / "submissions" / folder / "submission.toml").read_text("utf-8"))
    lines = text.splitlines()
    rows = sum(not banned.isdisjoint(windows(json.loads(line)["text"])) for line in lines)
    declared = card.get("overlap", {}).get(task, {}).get("dataset_text", 0)
    # the project counts in the view without punctuation, where a window is a little longer
    return rows <= 0.25 * len(lines) and (rows == 0 or declared > 0)
