"""Which of several processes this one is: read from what launchers put in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import UsageError


@dataclass(frozen=True)
class ProcessRank:
    """Process `rank` of `world`, and its number among those of this machine, which picks its GPU."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def alone(self) -> bool:
        return self.world == 1


ALONE = ProcessRank()


def process_rank(environment: Mapping[str, str] | None = None) -> ProcessRank:
    """The process that RANK, WORLD_SIZE and LOCAL_RANK name; the only one where WORLD_SIZE is not set.

    Raises:
        UsageError: They do not fit together.
    """
    values = os.environ if environment is None else environment
    words = {
        key: values.get(key, default) for key, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
    }
    if not all(word.isdigit() for word in words.values()) or not 0 <= int(words["RANK"]) < int(words["WORLD_SIZE"]):
        shown = ", ".join(f"{key}={word}" for key, word in words.items())
        raise UsageError(
            f"{shown} in the environment: RANK from 0 to WORLD_SIZE - 1 is needed; a launcher sets them, or unset them"
        )
    return ProcessRank(int(words["RANK"]), int(words["WORLD_SIZE"]), int(words["LOCAL_RANK"]))
