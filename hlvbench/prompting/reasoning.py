"""What a model writes around its answer: reasoning blocks, special tokens, names of chat roles.

The blocks are those that the reasoning parsers of vLLM and llama.cpp know: tags (Qwen, DeepSeek, Mistral, Seed, Kimi,
OpenThinker, Cohere, Apertus), channels (gpt-oss with its special tokens kept or skipped, Gemma 4), reserved tokens
(MedGemma, Pangu), Granite's sentences and the details of Open WebUI.
"""

from __future__ import annotations

import re

_FAMILY = "think(?:ing)?|thoughts?|reasoning|reflect(?:ion)?|scratch_?pad|analysis|cot|inner_(?:pre|suf)fix|monologue"
_BLOCK = re.compile(
    rf"(?P<tag>(?:(?:<|&lt;)[|｜]?|◁)/?(?:[\w-]{{1,16}}[_:-])?(?P<family>{_FAMILY})(?:[_-]\w{{1,16}})?"
    r"(?:\s[^<>\n]{0,99})?(?:[|｜]?(?:>|&gt;)|▷)|(?-i:\[/?(?:BEGIN_|END_)?(?:THINK(?:ING)?|THOUGHT|REASONING)\]))"
    r"|(?P<open><\|channel\|?>\s?(?:analysis|commentary|thought)\b|<unused94>|\[unused16\]"
    r"|<details type=.reasoning.[^<>\n]{0,99}>"
    r"|\A\s*here(?:'s| is) my thought process:|(?-i:\A\s*analysis(?![a-z:\s])|\A\s*analysis (?=[A-Z])"
    r"|assistant(?:analysis|commentary)))"
    r"|(?P<close><channel\|>|<unused95>|\[unused17\])"
    r"|(?P<answer><\|channel\|>\s?final\b[^<\n]{0,40}(?:<\|constrain\|>\w*)?(?:<\|message\|>)?"
    r"|(?-i:assistant\n?final|\A\s*final(?=[A-Z{*#])))"
    r"|(?P<inner>here(?:'s| is) my response:|</details>)",
    re.I,
)
_CLOSING = re.compile(r"^(?:&lt;|\W)*/|(?:^|[^a-z])end(?:[^a-z]|$)|suffix", re.I)
_WRAPPER = re.compile(r"<[|｜]\w{0,16}(?:box|solution|response|answer|content|message|output)\w{0,16}[|｜]>", re.I)
_SPECIAL = re.compile(
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|<\|?(?:turn|eo[sdt]|[bs]os|pad|unk|(?:start|end)_?of_?\w{1,12})\|?>|</?s>|<<?/?SYS>>?"
    r"|\[(?:/?INST|EOS|BOS|PAD|UNK)\]",
    re.I,
)
_ROLE = re.compile(r"\A(?:assistant[ \t]*:|(?:assistant|model)(?:[ \t]*\n|\s*\Z))", re.I)
_OPENED = re.compile(r"(<(think|thinking|thought|reasoning|seed:think)>|\[THINK\])\s*\Z")


def without_reasoning(text: str) -> tuple[str | None, bool]:
    """The text without reasoning blocks, None if one is unfinished; and whether there was any.

    A closing tag without an opening one ends a block that the prompt opened: what stands before it is dropped.
    """
    kept, start, thought = list[str](), 0, False
    # the family of the block that is open, "" where any closing tag ends it, None outside
    inside: str | None = None
    for match in _BLOCK.finditer(text):
        family = (match["family"] or "")[:5].casefold()
        if match["open"] or (match["tag"] and not _CLOSING.search(match["tag"])):
            if inside is not None:
                continue
            kept.append(text[start : match.start()])
            if any(_turns("".join(kept))[:-1]):
                # the model ran on into its next turn: the answer is whole
                return "".join(kept), thought
            inside, thought = family, True
        elif inside in ("", family) or not (family if inside else match["inner"]):
            thought = thought or not match["answer"] or any(_turns(text[start : match.start()]))
            kept, start, inside = [] if inside is None else kept, match.end(), None
    return (None if inside is not None else "".join([*kept, text[start:]])), thought


def first_turn(text: str) -> str:
    """What the model says before the first special token that follows a word; "" if it says nothing."""
    return next(filter(None, _turns(_WRAPPER.sub("", text))), "")


def _turns(text: str) -> list[str]:
    """What stands between special tokens, stripped, without the names of roles."""
    return [_ROLE.sub("", turn.strip()).strip() for turn in _SPECIAL.split(text)]


def opened_reasoning(prompt: str) -> str:
    """The tag of a reasoning block that a template opened at the end of the prompt; "" where there is none."""
    found = _OPENED.search(prompt)
    return found[0] if found else ""


def closed_reasoning(prompt: str) -> str:
    """The prompt with such a block closed, so that an answer follows."""
    found = _OPENED.search(prompt)
    if found is None:
        return prompt
    return f"{prompt.rstrip()}\n\n{'[/THINK]' if found[2] is None else f'</{found[2]}>'}\n\n"
