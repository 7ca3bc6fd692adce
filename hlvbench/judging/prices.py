"""What judging costs: an estimate before the first call, and a budget that no call passes."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from ..generation.journal import Journal
from ..io import read_text
from ..models import Completion, Query
from ..models.endpoint import Endpoint
from .judge_settings import JudgeSettings
from .judges import Reader

TABLE = Path(__file__).with_name("prices.toml")
LEDGER = "judge-spending.jsonl"
TEMPLATE_TOKENS = 64
"""Tokens that a chat template may add to a message; counted in what a call may cost at most."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: float, new_tokens: float) -> float:
        """US dollars."""
        return (prompt_tokens * self.input + new_tokens * self.output) / 1e6


def price_of(settings: JudgeSettings, table: Path | None = None) -> Price | None:
    """The price of a judge; nothing for one on this machine, None where the table has no line for its name."""
    if not settings.judge.startswith("endpoint:"):
        return Price(0.0, 0.0)
    path = table or TABLE
    try:
        rows = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    row = rows.get(settings.judge.partition(":")[2])
    if row is None:
        return None
    values = [row.get(key) if isinstance(row, dict) else None for key in ("input", "output")]
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < 1e9 for v in values):
        raise UsageError(f"{path}: {settings.judge}: input and output must be US dollars per million tokens")
    return Price(*(float(v) for v in values))  # type: ignore[arg-type]


def price_needed(settings: JudgeSettings, table: Path | None) -> Price:
    """The price, without which a budget means nothing."""
    found = price_of(settings, table)
    if found is None:
        name = settings.judge.partition(":")[2]
        raise UsageError(
            f'--budget: no price of {name!r} in {table or TABLE}; add ["{name}"] with input and output, US dollars per '
            f"million tokens, to a copy of that file and give it as --prices FILE (0 and 0 for a server of your own)"
        )
    return found


class Meter:
    """What a run's judges have spent, kept in the run folder: a budget holds over all commands on it.

    Before a call its highest possible price is set aside (a token per byte of the prompt, all new tokens); after it,
    the price of the tokens that the server counted takes its place. So spending never passes the budget.
    """

    def __init__(self, folder: Path, price: Price, budget: float, max_new_tokens: int) -> None:
        if not budget >= 0:
            raise UsageError(f"--budget {budget}: US dollars, 0 or more")
        self.price, self.budget, self.max_new_tokens = price, budget, max_new_tokens
        self._ledger = Journal(folder / LEDGER)
        self._ledger.repair()
        self._spent = sum(float(line["usd"]) for line in self._ledger.entries())
        self._reserved = 0.0
        self._turn = threading.Lock()

    @property
    def spent(self) -> float:
        return self._spent

    def reserve(self, content: str) -> float:
        """Set the highest price of a call aside; a ModelError where the budget does not allow it."""
        most = self.price.of(len(content.encode("utf-8", "replace")) + TEMPLATE_TOKENS, self.max_new_tokens)
        with self._turn:
            if self._spent + self._reserved + most > self.budget:
                raise ModelError(
                    f"--budget {self.budget:g} USD would be passed: {self._spent:.6f} spent, "
                    f"{self._reserved:.6f} under way, the next call may cost {most:.6f}"
                )
            self._reserved += most
        return most

    def settle(self, judge: str, reserved: float, paid: float | None) -> None:
        """Book a call that ended; `paid` None where nobody says what was counted: the highest price."""
        with self._turn:
            usd = reserved if paid is None else paid
            self._reserved -= reserved
            self._spent += usd
            self._ledger.append({"judge": judge, "usd": usd})


class Metered(Reader):
    """An endpoint under a budget."""

    def __init__(self, model: Endpoint, meter: Meter) -> None:
        super().__init__(model)
        self.endpoint, self.meter = model, meter

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        return [self._ask(query) for query in batch]

    def _ask(self, query: Query) -> Completion:
        reserved = self.meter.reserve(query.content)
        paid = None
        try:
            completion, usage = self.endpoint.ask(query)
            if usage.prompt_tokens is not None and usage.new_tokens is not None:
                paid = self.meter.price.of(usage.prompt_tokens, usage.new_tokens)
            return completion
        finally:
            # a call that failed may have been answered, and charged, all the same
            self.meter.settle(self.name, reserved, paid)


def estimate(model: Any, queries: Sequence[Query], settings: JudgeSettings, price: Price | None) -> dict[str, Any]:
    """What asking would take: calls, prompt tokens (an estimate for an endpoint), new tokens at most, US dollars."""
    tokens = sum(model.count_tokens(q.content) for q in queries)
    new = len(queries) * (settings.max_new_tokens if settings.by == "reply" else 1)
    if settings.by == "style":
        tokens = new = 0
    usd = None if price is None else round(price.of(tokens, new), 6)
    return {"questions": len(queries), "prompt_tokens": tokens, "new_tokens_at_most": new, "usd": usd}
