"""What a pull request goes through: the shell steps of the workflow files, run on a scratch repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
import yaml

from hlvbench.cli import main
from hlvbench.io import dump_json, read_json, sha256_file

WORKFLOWS = Path(__file__).parents[1] / ".github" / "workflows"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="no git on the PATH"),
    pytest.mark.skipif(not WORKFLOWS.is_dir(), reason="not a checkout: no workflow files"),
]
PREPARED = ("make install", ".venv/bin/hlvbench fetch varierr r2")
"""Steps that a test does not repeat: the environment is this one, and the synthetic task needs no data."""


def steps(workflow):
    (job,) = yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"].values()
    return [step for step in job["steps"] if "run" in step]


def git(place, *words):
    named = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *named, *words], cwd=place, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(place):
    git(place, "add", "-A")
    git(place, "commit", "-qm", "change")
    return git(place, "rev-parse", "HEAD")


def perform(repository, workflow, **environment):
    """Run the steps as the runner does (`bash -e`); (what ran, what the failing step printed or "")."""
    ran = []
    for step in steps(workflow):
        if step["run"].strip() in PREPARED:
            continue
        place = repository / step.get("working-directory", ".")
        environment = {**os.environ, "GITHUB_WORKSPACE": str(repository), **environment}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=place, env=environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        ran.append(step["name"])
        if done.returncode:
            return ran, done.stdout + done.stderr
        base = repository.parent / "base"
        if base.is_dir() and not (base / ".venv").exists():
            (base / ".venv" / "bin").mkdir(parents=True)
            (base / ".venv" / "bin" / "hlvbench").symlink_to(Path(sys.executable).parent / "hlvbench")
    return ran, ""


def submitted(run_folder, name):
    assert main(["submit", str(run_folder), "--name", name, "--date", "2026-05-27"]) == 0
    return Path("submissions") / f"20260527_{name}"


@pytest.fixture
def pull_request(majority_run, tmp_path, monkeypatch):
    """(repository, its base commit, the folder of a new submission): a sound pull request, not yet committed."""
    repository = tmp_path / "work" / "repository"
    repository.mkdir(parents=True)
    monkeypatch.chdir(repository)
    git(repository, "init", "-q", "-b", "main")
    submitted(majority_run, "first")
    assert main(["leaderboard"]) == 0
    base = commit(repository)
    folder = submitted(majority_run, "second")
    assert main(["leaderboard"]) == 0
    return repository, base, folder


def test_a_sound_pull_request_passes_and_its_page_is_published(pull_request, capsys):
    repository, base, folder = pull_request
    commit(repository)
    ran, trouble = perform(repository, "submission.yml", BASE=base)
    assert trouble == ""
    assert ran[-2:] == ["Check what changed, scoring it again", "The page is what the submissions make"]
    ran, trouble = perform(repository, "page.yml")
    assert (ran, trouble) == (["Collect"], "")
    page = (repository / "site" / "leaderboard" / "index.html").read_text()
    assert f'href="../{folder}/"' in page
    listed = re.findall('href="([^"]*)"', (repository / "site" / folder / "index.html").read_text())
    assert "demo/scores.json" in listed
    assert all((repository / "site" / folder / name).is_file() for name in listed)
    assert f'href="{folder.name}"' in (repository / "site" / "submissions" / "index.html").read_text()


def test_a_number_that_was_changed_stops_it(pull_request):
    repository, base, folder = pull_request
    scores = folder / "demo" / "scores.json"
    document = read_json(scores)
    next(s for s in document["scores"] if s["metric"] == "rouge_l").update(value=0.5, low=0.4, high=0.6)
    scores.write_text(dump_json(document))
    card = tomllib.loads((folder / "submission.toml").read_text())
    card["files"]["demo/scores.json"] = sha256_file(scores)
    (folder / "submission.toml").write_text(tomli_w.dumps(card))
    assert main(["leaderboard"]) == 0
    commit(repository)
    ran, trouble = perform(repository, "submission.yml", BASE=base)
    assert ran[-1] == "Check what changed, scoring it again"
    assert "ERROR demo/scores.json: rouge_l(view=raw): value is 0.5, re-scored" in trouble


def test_only_a_maintainer_brings_a_verified_row(pull_request):
    repository, base, folder = pull_request
    assert main(["check", "--write", str(folder)]) == 0
    assert main(["leaderboard"]) == 0
    commit(repository)
    ran, trouble = perform(repository, "submission.yml", BASE=base, WHO="CONTRIBUTOR")
    assert ran[-1] == "Check what changed, scoring it again"
    assert "[verified] is written by a maintainer's check --write" in trouble
    shutil.rmtree(repository.parent / "base")
    git(repository, "worktree", "prune")
    assert perform(repository, "submission.yml", BASE=base, WHO="MEMBER")[1] == ""


def test_a_page_that_the_submissions_do_not_make_stops_it(pull_request):
    repository, base, _ = pull_request
    page = repository / "leaderboard" / "index.html"
    page.write_text(page.read_text().replace("Overall", "Over all").replace("hlv_index", "HLV"))
    commit(repository)
    ran, trouble = perform(repository, "submission.yml", BASE=base)
    assert ran[-1] == "The page is what the submissions make"
    assert "index.html" in trouble


def test_a_submission_that_loses_a_file_stops_it(pull_request):
    repository, base, _ = pull_request
    (repository / "submissions" / "20260527_first" / "manifest.json").unlink()
    commit(repository)
    _, trouble = perform(repository, "submission.yml", BASE=base)
    assert "20260527_first" in trouble
    assert "manifest.json" in trouble
