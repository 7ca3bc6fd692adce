"""What a number was made with: versions and the source's revision, for manifests."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from . import __version__
from .io import read_document

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "scikit-learn", "sentence-transformers")
MANIFEST = "manifest.json"


class TaskFacts(TypedDict, total=False):
    """What the manifest of a run says of one task, and is read again."""

    data_sha256: dict[str, str]
    generations_sha256: str
    model: dict[str, Any]


class Manifest(TypedDict):
    """What is read again of a run's manifest.json."""

    command: list[str]
    settings: dict[str, Any]
    wall_seconds: float
    tasks: dict[str, TaskFacts]


class TrainingManifest(TypedDict, total=False):
    """What is read again of the manifest.json beside a trained adapter."""

    command: list[str]
    start_command: list[str]
    trained_on: dict[str, Any]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a run folder; None where there is none yet. A DataError for one that is not a run's."""
    path = folder / MANIFEST
    found: Manifest | None = read_document(path, Manifest) if path.exists() else None
    return found


def provenance() -> Mapping[str, Any]:
    """hlvbench's version and git revision, Python, platform, and the versions of what computes."""
    return {
        "hlvbench": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def trained_by(configuration: Any) -> str:
    """ "sft" or "capo": which of our trainers wrote a training configuration; "" for another program's."""
    if not isinstance(configuration, dict):
        return ""
    return "capo" if "beta" in configuration else "sft" if "rank" in configuration else ""


def git_revision() -> str | None:
    """The checkout's revision, "+changes" if it has uncommitted ones; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        found = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
