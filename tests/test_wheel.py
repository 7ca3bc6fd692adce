"""The wheel alone is enough: built, installed into an empty environment, used far from the checkout.

The dependencies come from the running environment by links, because the suite runs offline: of it the new
environment gets exactly the distributions that the wheel's own metadata requires, extras and tools left out, so
an undeclared dependency is missing there as it would be for a user.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HLVBENCH_")) and k != "VIRTUAL_ENV"}
    env["HLVBENCH_CACHE"] = os.environ["HLVBENCH_CACHE"]
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def required(requirements: list[str]) -> set[str]:
    """The names of the distributions that these requirements pull in, all the way down."""
    todo, found = [(Requirement(r), "") for r in requirements], set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in found:
                found.add((name, wanted))
                todo += [(Requirement(r), wanted) for r in distribution(name).requires or ()]
    return {name for name, _ in found}


def link(names: set[str], site: Path) -> None:
    """Link what these distributions installed into `site`."""
    for name in names:
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            source = Path(str(distribution(name).locate_file(top)))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as a release is: the source archive first, the wheel from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (found,) = folder.glob("hlvbench-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` folder of an environment that holds the wheel and what it requires, and nothing else."""
    home = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", home / "env", cwd=home)
    python = home / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
    metadata = zipfile.ZipFile(wheel).read(f"{wheel.name.split('-py3')[0]}.dist-info/METADATA").decode()
    requirements = re.findall(r"^Requires-Dist: (.*)$", metadata, re.M)
    link(required(requirements), site)
    run(python, "-m", "pip", "check", cwd=home)
    return python.parent


def test_the_wheel_carries_the_tasks_and_nothing_of_the_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tasks = {path.relative_to(ROOT / "tasks").as_posix() for path in (ROOT / "tasks").rglob("*") if path.is_file()}
    assert tasks
    assert {f"hlvbench/_tasks/{name}" for name in tasks} <= names
    points = zipfile.ZipFile(wheel).read(f"{wheel.name.split('-py3')[0]}.dist-info/entry_points.txt").decode()
    assert "[inspect_ai]\nhlvbench = hlvbench.integrations.inspect_ai_tasks\n" in points
    tops = {name.split("/")[0] for name in names}
    assert tops == {"hlvbench", f"{wheel.name.split('-py3')[0]}.dist-info"}


def test_the_installed_copy_lists_the_tasks_far_from_the_checkout(installed, tmp_path):
    where = run(installed / "python", "-c", "import hlvbench; print(hlvbench.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)
    yamls = Path(run(installed / "hlvbench", "tasks", "--lm-eval-path", cwd=tmp_path).strip())
    assert yamls.is_relative_to(installed.parent)
    assert (yamls / "hlv_varierr.yaml").is_file()
    listed = run(installed / "hlvbench", "tasks", cwd=tmp_path)
    assert {"varierr", "r2", "demo"} <= set(re.findall(r"\w+", listed))


def test_the_installed_copy_runs_the_demo_task_far_from_the_checkout(installed, tmp_path):
    command = (installed / "hlvbench", "run", "--task", "demo", "--model", "reference:majority", "--limit", "30")
    run(*command, "--out", tmp_path / "out", cwd=tmp_path)
    (scores,) = (tmp_path / "out").rglob("scores.json")
    found = json.loads(scores.read_text())
    assert found["task"].split("@")[0] == "demo"
    assert found["missing"] == 0
    assert found["questions"] == len(scores.with_name("generations.jsonl").read_text().strip().split("\n"))
    accuracy = [s["value"] for s in found["scores"] if s["metric"] == "label_accuracy" and s["annotator"] is None]
    assert accuracy
    assert 0 < accuracy[0] < 1
