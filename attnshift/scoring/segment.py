"""The part of a generation that is the answer: up to its first newline, end-of-sequence or run-on template."""

from __future__ import annotations

import re

_END_SPELLINGS = (
    "</s>", "<s>", "<eos>", "<bos>", "<pad>", "<unk>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>",
    "<|im_start|>", "<|end|>", "<|eom_id|>", "<|return|>", "<|user|>", "<|system|>", "<|assistant|>", "<end_of_turn>",
    "<start_of_turn>", "<|end_of_turn|>", "<|eot|>", "<|begin_of_text|>", "<|start_header_id|>", "[inst]", "[/inst]",
    "<<sys>>", "[eos]", "[pad]", "[sep]", "[/s]", "<\uff5cend\u2581of\u2581sentence\uff5c>",
)  # fmt: skip
"""Literal spellings of end-of-sequence and of turns, as models write them when training showed them as text."""

_SPECIAL = re.compile(
    "|".join([*(re.escape(spelling) for spelling in _END_SPELLINGS), r"<\s?[|\uff5c]", r"<\s?/\s?s\s?>", r"<\s?/$"]),
    re.IGNORECASE,
)
_CUT_OFF = sorted({spelling[:n] for spelling in _END_SPELLINGS for n in range(1, len(spelling))}, key=len, reverse=True)
_CUT_OFF_AT_END = re.compile("(?:" + "|".join(map(re.escape, _CUT_OFF)) + ")$", re.IGNORECASE)

_NEWLINE = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029\u010a]|\\n(?=\\n|\s|$)|<br\s*/?>|<0x0a>", re.IGNORECASE)
_SPACE_MARKS = str.maketrans({"\u2581": " ", "\u0120": " "})
"""How byte-pair vocabularies write a leading space, where a decoder left it in."""

_LEAD_IN = re.compile(
    r"[\"'\u201c(*\s]*(?:[-=_]{3,}|<s>|<bos>|<pad>|<\|(?:begin_of_text|assistant|start)\|>|(?:#{1,6}\s*)?(?:<\|assistant\|>"
    r"|\[/inst\]|(?:(?:final|correct|short)\s+)?answer|response|output|assistant|model|completion|a)\s*(?:\d+\s*)?(?::+|(?<=>)|(?<=\])))\s*",
    re.IGNORECASE,
)
_HEADING = re.compile(r"#{2,}|-{3,}|={3,}|_{3,}")
_ROLE = re.compile(
    r"(?<!\w)(?:(?:question|q|instruction|input|context|passage|user|human|system|assistant|response|prompt|task)"
    r"(?:\s?\d+)?)\s?:",
    re.IGNORECASE,
)
_TIES_TO_SENTENCE = re.compile(
    r"(?:\b(?:the|this|that|these|your|my|our|its|a|an|to|of|in|from|given|provided|following|above|original|per|by|on"
    r"|with|and|or|same|first|second|last|said|current|under|using)|[(\"'\u201c])\s*$",
    re.IGNORECASE,
)


_ANNOUNCING = 8
"""Words that a line which only announces the answer has at most."""


def first_segment(text: str) -> str:
    """The answer part of a generation.

    Leading white space and a leading "Answer:" or response heading are skipped. The segment ends before the first
    newline, end-of-sequence token (its literal spelling too, even cut off at the end of the text) or run-on template
    such as "### Instruction:", "Question:" or "User:". The raw text isn't changed but for that.
    """
    text = _without_lead_in(text.translate(_SPACE_MARKS))
    line, *more = _NEWLINE.split(text)
    if line.rstrip().endswith(":") and len(line.split()) <= _ANNOUNCING:  # "The answer is:" announces the next line
        line += " " + next(filter(str.strip, more), "")
    ends = [match.start() for match in (_SPECIAL.search(line), _HEADING.search(line)) if match]
    line = line[: min(ends, default=len(line))]
    line = line[: _role_start(line)]
    return _CUT_OFF_AT_END.sub("", line).strip()


def _without_lead_in(text: str) -> str:
    """Without blank lines and answer headings at the start; stops at anything else."""
    while True:
        rest = _NEWLINE.sub("\n", text).lstrip() if text[:1].isspace() or _NEWLINE.match(text) else text
        lead_in = _LEAD_IN.match(rest)
        if lead_in:
            rest = rest[lead_in.end() :]
        if rest == text:
            return text
        text = rest


def _role_start(line: str) -> int:
    """Where a run-on prompt begins: "Question:", but not "the answer to the question:"."""
    for match in _ROLE.finditer(line):
        if not _TIES_TO_SENTENCE.search(line[: match.start()]):
            return match.start()
    return len(line)
