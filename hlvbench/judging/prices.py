"""What judging costs: an estimate before the first call, and a budget that no call exceeds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import ModelError, UsageError, all_problems, validation_problems
from ..generation.journal import Journal
from ..io import read_toml
from ..models import Completion, Query
from ..models.endpoint import Endpoint
from .judge_models import PromptJudge
from .judge_settings import JudgeSettings

TABLE = Path(__file__).with_name("prices.toml")
LEDGER = "judge-spending.jsonl"
TEMPLATE_TOKENS = 64
"""Tokens that a chat template may add to a message; counted in what a call may cost at most."""


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, strict=True)

    input: float = Field(ge=0, lt=1e9)
    output: float = Field(ge=0, lt=1e9)

    def of(self, prompt_tokens: float, new_tokens: float) -> float:
        """US dollars."""
        return (prompt_tokens * self.input + new_tokens * self.output) / 1e6


def price_of(settings: JudgeSettings, table: Path | None = None) -> Price | None:
    """The price of a judge: nothing for one on this machine, None where the table has no line for its name."""
    if not settings.judge.startswith("endpoint:"):
        return Price(input=0, output=0)
    path = table or TABLE
    try:
        prices = TypeAdapter(dict[str, Price]).validate_python(read_toml(path))
    except ValidationError as error:
        raise UsageError(
            all_problems(f"{path}: input and output must be US dollars per million tokens:", validation_problems(error))
        ) from None
    return prices.get(settings.judge.partition(":")[2])


class Budget:
    """What a run's judges have spent, kept in the run folder: it holds over all commands on the run.

    Before a call its highest possible price is reserved (a token per byte of the prompt, all new tokens); after it,
    the price of the tokens that the server counted takes its place. So spending never exceeds the budget.
    """

    def __init__(self, folder: Path, settings: JudgeSettings, table: Path | None, budget: float) -> None:
        price, name = price_of(settings, table), settings.judge.partition(":")[2]
        if not budget >= 0:
            raise UsageError(f"--budget {budget}: US dollars, 0 or more")
        if price is None:
            raise UsageError(
                f'--budget: no price of {name!r} in {table or TABLE}; add ["{name}"] with input and output, US dollars '
                f"per million tokens, to a copy of that file and give it as --prices FILE (0 and 0 for a server of "
                f"your own)"
            )
        self.price, self.budget, self.max_new_tokens = price, budget, settings.max_new_tokens
        self._ledger = Journal(folder / LEDGER)
        self._ledger.repair()
        self._spent = sum(float(line["usd"]) for line in self._ledger.entries())
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, content: str) -> float:
        """Reserve the highest price of a call; a ModelError where the budget does not allow it."""
        most = self.price.of(len(content.encode("utf-8", "replace")) + TEMPLATE_TOKENS, self.max_new_tokens)
        with self._lock:
            if self._spent + self._reserved + most > self.budget:
                raise ModelError(
                    f"--budget {self.budget:g} USD would be passed: {self._spent:.6f} spent, "
                    f"{self._reserved:.6f} under way, the next call may cost {most:.6f}"
                )
            self._reserved += most
        return most

    def settle(self, judge: str, reserved: float, paid: float | None) -> None:
        """Record a call that ended; `paid` None where the server counted no tokens: the highest price."""
        with self._lock:
            usd = reserved if paid is None else paid
            self._reserved -= reserved
            self._spent += usd
            self._ledger.append({"judge": judge, "usd": usd})


class BudgetedJudge(PromptJudge):
    """An endpoint under a budget."""

    def __init__(self, model: Endpoint, budget: Budget) -> None:
        super().__init__(model)
        self.endpoint, self.budget = model, budget

    def answer(self, batch: Sequence[Query]) -> list[Completion]:
        return [self._ask(query) for query in batch]

    def _ask(self, query: Query) -> Completion:
        reserved = self.budget.reserve(query.content)
        paid = None
        try:
            completion, usage = self.endpoint.ask(query)
            if usage.prompt_tokens is not None and usage.new_tokens is not None:
                paid = self.budget.price.of(usage.prompt_tokens, usage.new_tokens)
            return completion
        finally:
            # a call that failed may have been answered, and charged, all the same
            self.budget.settle(self.name, reserved, paid)


def estimate(model: Any, queries: Sequence[Query], settings: JudgeSettings, price: Price | None) -> dict[str, Any]:
    """Calls, prompt tokens (an estimate for an endpoint), new tokens at most, US dollars."""
    tokens = sum(model.count_tokens(query.content) for query in queries)
    new = len(queries) * settings.max_new_tokens
    usd = None if price is None else round(price.of(tokens, new), 6)
    return {"questions": len(queries), "prompt_tokens": tokens, "new_tokens_at_most": new, "usd": usd}
