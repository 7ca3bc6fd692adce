"""What a number was made with: versions and the source's revision, for manifests."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import __version__

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "scikit-learn", "sentence-transformers")


def provenance() -> Mapping[str, Any]:
    """hlvbench's version and git revision, Python, platform, and the versions of what computes."""
    return {
        "hlvbench": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def git_revision() -> str | None:
    """The checkout's revision, "+changes" if it has uncommitted ones; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        found = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
