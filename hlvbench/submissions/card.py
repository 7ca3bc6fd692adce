"""submission.toml: what a submission says of itself, and the shape that is asked of it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..baselines.attacks import SYSTEMS as ATTACKS
from ..baselines.references import SYSTEMS as REFERENCES
from ..data.table import MOST_ID
from ..data.task_config import is_name
from ..io import sha256_text
from ..settings import ANSWERS
from ..text import hidden, local_path
from .safe_reading import strings

FORMAT = 1
METHODS = ("base", "icl", "vp", "vp-icl", "sft", "capo", "adapter", "reference", "other")
"""What a row is filtered by. `reference` is never ranked."""
SPLITS = ("train", "dev", "test")
LINKS = ("paper", "code", "model", "homepage")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,58}[a-z0-9])?")
_SHA = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+")
_PLACE = re.compile(r"""(?<![^\s,=:"'(])(?:(?:~[\w-]*|\.{1,2})?/(?!/)|[A-Za-z]:[\\/]|\\\\)[^\s,"')]+""")
_YEARS = (2020, 2099)
Check = Callable[[Any], str]


def _line(most: int) -> Check:
    """One visible line of text."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            return f"a text was expected, got {value!r:.60}"
        if len(value) > most:
            return f"{len(value)} characters; at most {most}"
        return "one line, please" if "\n" in value else _visible(value)

    return check


def _prose(most: int) -> Check:
    """Text of several lines, which may be empty."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"a text was expected, got {value!r:.60}"
        return f"{len(value)} characters; at most {most}" if len(value) > most else _visible(value)

    return check


def _visible(value: str) -> str:
    char = hidden(value)
    return f"holds {char}, which a reader cannot see" if char else ""


def _one_of(*choices: object) -> Check:
    return lambda value: (
        "" if any(value == c and type(value) is type(c) for c in choices)
        else f"{value!r:.60} is not one of {', '.join(map(str, choices))}"
    )  # fmt: skip


def _slug(value: Any) -> str:
    return "" if isinstance(value, str) and SLUG.fullmatch(value) else (
        f"{value!r:.80}: small letters, digits, - and . inside, at most 60 characters"
    )  # fmt: skip


def _day(value: Any) -> str:
    # a TOML date-time is a date, too, in Python's eyes
    if type(value) is not datetime.date:
        return f"a date without quotes (2026-05-27) was expected, got {value!r:.60}"
    return "" if _YEARS[0] <= value.year <= _YEARS[1] else f"{value}: a year from {_YEARS[0]} to {_YEARS[1]}, please"


def in_future(day: datetime.date) -> str:
    """Why a date cannot stand, by this machine's clock; a day is granted to those east of Greenwich."""
    today = datetime.datetime.now(datetime.UTC).date()
    return f"{day} is in the future (today is {today})" if day > today + datetime.timedelta(days=1) else ""


def _sha(value: Any) -> str:
    return "" if isinstance(value, str) and _SHA.fullmatch(value) else f"not a sha256: {value!r:.80}"


def _url(value: Any) -> str:
    """Only https, to a named host: nothing that a browser would run."""
    if not isinstance(value, str) or len(value) > 300 or re.search(r"[\s<>\"'`\\{}|^]", value) or hidden(value):
        return f"not a link: {value!r:.60}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return f"not a link: {value!r:.60}"
    if parts.scheme != "https" or parts.username is not None or port or not _HOST.fullmatch(parts.hostname or ""):
        return f"links begin with https:// and a host's name, got {value!r:.60}"
    return ""


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"true or false was expected, got {value!r:.60}"


def _amount(value: Any) -> str:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e9
    return "" if fits else f"a number from 0 was expected, got {value!r:.60}"


def _whole(value: Any) -> str:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return "" if fits else f"a whole number from 0 was expected, got {value!r:.60}"


def _list(inner: Check, most: int, least: int = 0) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, list) or not least <= len(value) <= most:
            return f"a list of {least} to {most} entries was expected, got {value!r:.60}"
        return "; ".join(filter(None, map(inner, value)))

    return check


def _table(needed: Mapping[str, Check], free: Mapping[str, Check] | None = None) -> Check:
    """A table with these keys, the free ones may be absent."""
    allowed = {**needed, **(free or {})}

    def check(value: Any) -> str:
        if not isinstance(value, dict):
            return f"a table was expected, got {value!r:.60}"
        found = [f"{key!r:.60} is not a key here" for key in value if key not in allowed]
        found += [f"{key} is missing" for key in needed if key not in value]
        found += [f"{key}: {why}" for key, c in allowed.items() if key in value and (why := c(value[key]))]
        return "; ".join(found)

    return check


def _by(key_fits: Callable[[str], bool], inner: Check, most: int) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, dict) or len(value) > most:
            return f"a table of at most {most} entries was expected, got {value!r:.60}"
        found = [f"{key!r:.60} is not a key here" for key in value if not key_fits(key)]
        return "; ".join(found + [f"{key}: {why}" for key, v in value.items() if key_fits(key) and (why := inner(v))])

    return check


def _is_file(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9._+/-]{1,200}", name)) and ".." not in name and not name.startswith("/")


def _recipe(value: Any) -> str:
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if name in {"reference": REFERENCES, "attack": ATTACKS}.get(kind, {}):
        return ""
    return f"{value!r:.60} is neither reference:NAME nor attack:NAME of this version"


MOST_LISTED = 20_000
"""Files and adapters; what a card may hold is bounded by its size, which grows with the task's annotators."""
NEEDED: Mapping[str, Check] = {
    "format": _one_of(FORMAT),
    "name": _slug,
    "date": _day,
    "system": _line(80),
    "method": _one_of(*METHODS),
    "authors": _list(_line(100), 60, least=1),
    "training": _table(
        {"annotators": _line(200), "splits": _list(_one_of(*SPLITS), 3), "lewidi": _flag},
        {"note": _prose(1000), "contaminated": _flag},
    ),
    "generations": _by(is_name, _sha, 40),
    "files": _by(_is_file, _sha, MOST_LISTED),
    "reproduce": _table({"commands": _list(_line(1000), 20, least=1)}, {"note": _prose(1000)}),
}
FREE: Mapping[str, Check] = {
    "description": _prose(2000),
    "recipe": _recipe,
    "seed": _whole,
    "links": _table({}, dict.fromkeys(LINKS, _url)),
    "base": _table(
        {"name": _line(120)},
        {"revision": _line(80), "config_sha256": _sha, "weights_sha256": _sha, "distributed": _flag},
    ),
    "asked": _table({"prompt": _whole, "answers": _one_of(*ANSWERS)}),
    "adapters": _list(_table({"task": _line(64), "annotator": _line(MOST_ID), "sha256": _sha}), MOST_LISTED),
    "cost": _table({}, {"hardware": _line(120), "hours": _amount, "usd": _amount, "note": _prose(500)}),
    "overlap": _by(is_name, _table({"answers": _whole, "train_copies": _whole, "dataset_text": _whole}), 40),
    "verified": _table({"date": _day, "hlvbench": _line(40), "largest_difference": _amount, "card_sha256": _sha}),
}  # fmt: skip
ORDER = (
    "format", "name", "date", "system", "method", "recipe", "seed", "authors", "description", "links", "base",
    "asked", "training", "cost", "reproduce", "overlap", "generations", "verified", "files", "adapters",
)  # fmt: skip
HEAD = "# What this submission says of itself; made by `hlvbench submit`. `hlvbench check --write` rewrites the file.\n"


def card_problems(card: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a parsed submission.toml."""
    shape = {**NEEDED, **FREE}
    found = [f"{key!r:.60} is not a key here" for key in card if key not in shape]
    found += [f"{key} is missing" for key in NEEDED if key not in card]
    found += [f"{key}: {why}" for key, check in shape.items() if key in card and (why := check(card[key]))]
    found += [
        f"{where} holds the local path {path!r:.80}; name models and adapters by hub id or folder name"
        for where, text in strings(dict(card))
        if (path := local_path(text))
    ]
    if "recipe" in card and card.get("method") != "reference":
        found.append("a recipe is a reference system: method must be reference")
    return found


def folder_name(card: Mapping[str, Any]) -> str:
    """<YYYYMMDD>_<name>."""
    return f"{card['date']:%Y%m%d}_{card['name']}"


def card_digest(card: Mapping[str, Any]) -> str:
    """The sha256 of all that a card says, the hashes of the files included, but [verified]: what was verified."""
    return sha256_text(to_toml({key: value for key, value in card.items() if key != "verified"}))


def is_reference(model: str) -> bool:
    """Whether a run's model is a reference system or an attack: text by rule, which is never ranked."""
    return model.startswith(("reference:", "attack:"))


def base_of(described: Mapping[str, Any], model: str) -> dict[str, str]:
    """The base model as a run's manifest describes it: name, revision, hashes, as far as they are told."""
    found = {"name": str(without_paths(described.get("name") or model))}
    return found | {k: str(described[k]) for k in ("revision", "config_sha256", "weights_sha256") if described.get(k)}


def trained_by(configuration: Any) -> str:
    """ "sft" or "capo": which of our trainers a train.toml is of; "" for what another program left."""
    if not isinstance(configuration, dict):
        return ""
    return "capo" if "beta" in configuration else "sft" if "rank" in configuration else ""


def role(card: Mapping[str, Any], model: str = "") -> str:
    """ "system" (ranked), "ceiling", "floor" or "attack". model: the run's own, for a reference with plain texts."""
    model = str(card.get("recipe") or model)
    if card.get("method") != "reference" or not is_reference(model):
        return "system"
    kind, _, name = model.partition(":")
    known = ATTACKS.get(name)
    if known is not None and known.kind == "people":
        return "ceiling"
    return "attack" if kind == "attack" else "floor"


def to_toml(card: Mapping[str, Any]) -> str:
    """A card as TOML, keys in their usual order."""
    return HEAD + "\n".join(toml_lines({key: card[key] for key in ORDER if key in card})) + "\n"


def toml_lines(values: Mapping[str, Any]) -> list[str]:
    """Plain values first, then tables; what a table holds inside stands in one line. None is left out."""
    known = {k: v for k, v in values.items() if v is not None}
    lines = [f"{_key(key)} = {_value(v)}" for key, v in known.items() if not _is_table(v)]
    for key, value in known.items():
        if _is_table(value):
            for entry in value if isinstance(value, list) else [value]:
                head = f"[[{_key(key)}]]" if isinstance(value, list) else f"[{_key(key)}]"
                lines += ["", head, *(f"{_key(k)} = {_value(v)}" for k, v in entry.items() if v is not None)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # a JSON string is a TOML one, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return value.isoformat() if isinstance(value, datetime.date) else repr(value)


def without_paths(value: Any) -> Any:
    """A copy in which every path of this machine, also one within an option, is cut to its last part."""
    if isinstance(value, dict):
        return {k: without_paths(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(v) for v in value]
    return _PLACE.sub(_last_part, value) if isinstance(value, str) else value


def _last_part(match: re.Match[str]) -> str:
    return match[0].replace("\\", "/").rstrip("/").rpartition("/")[2].lstrip("~.") or "folder"
