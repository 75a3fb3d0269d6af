"""Label the generations of a trace again, from the texts that it holds: no model takes part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.measures.catalogue import FROM_TEXT
from attnshift.measures.control import ControlGeneration, ControlLabel
from attnshift.measures.generation import Generation
from attnshift.measures.label import AnswerLabel
from attnshift.measures.measure import Answers, Measure, Observation
from attnshift.scoring.agreement import Agreement, agreement
from attnshift.scoring.labels import LABELS
from attnshift.tracing.schema import cell_dataset
from attnshift.tracing.store import INPUTS, Store

JUDGE = "answer_label_judge"

Judge = Callable[[str, str, str, str], str]
"""(text, context answer, parametric answer, question) to a label."""


@dataclass(frozen=True)
class Moved:
    """A text whose label changed."""

    step: int
    item: str
    old: str
    new: str
    text: str


@dataclass(frozen=True)
class Rescored:
    """What became of a trace's labels."""

    trace: Path
    key: str
    """of the labels now"""
    keys_before: tuple[str, ...]
    """of the labels before, each once; empty where no step had any"""
    counts: Mapping[int, Mapping[str, int]]
    """texts by label, by step"""
    moves: Agreement
    """labels before against labels now, over the texts that had one"""
    moved: tuple[Moved, ...]
    refreshed: Mapping[str, int]
    """further variables that had another formula, and in how many steps"""
    written: tuple[int, ...]
    """steps whose file was written"""
    without_text: tuple[int, ...]
    """steps that hold no generation"""
    judge: str | None
    """the judge's name"""
    judged: Agreement | None
    """the rule's labels against the judge's, over all texts"""


def rescore(trace: str | Path, judge: Judge | None = None) -> Rescored:
    """Label a trace's generations again by the rules of this version, and say what moved.

    A step's file is replaced atomically, and only where something in it changes: done twice, the second time changes
    nothing. ``counterfactual_accuracy`` and ``parametric_accuracy`` are renewed only where they are by another formula.

    Parameters
    ----------
    trace
        Directory of the trace.
    judge
        A callable of your own, called as ``judge(text, context_answer, parametric_answer, question)``, that returns a
        label. Its labels become the variable ``answer_label_judge``, beside the rule's and never instead of them. Steps
        that a judge of this name has labelled are kept: rename it when it changes.

    Raises
    ------
    AttnshiftError
        There is no trace, it holds no generations, or the judge fails or returns something else than a label.
    """
    store = Store(Path(trace))
    items = _Items.of(store)
    read = {step: store.read_variables(step, (Generation.name,)) for step in store.steps()}
    texts = {step: found[Generation.name].values for step, found in read.items() if found}
    if not texts:
        raise AttnshiftError(
            f"the trace in {str(trace)!r} holds no generations",
            expected="the variable generation in at least one step",
            remedy="attnshift trace with generation among its --measures",
        )
    asked = None if judge is None else _Judged(judge, items, {})
    steps = [_rescore_step(store, step, items, found, asked) for step, found in texts.items()]
    moved = tuple(move for each in steps for move in each.moved(items))
    return Rescored(
        trace=store.path,
        key=AnswerLabel().key,
        keys_before=tuple(dict.fromkeys(each.key_before for each in steps if each.key_before)),
        counts={each.step: {label: Counter(each.labels)[label] for label in LABELS} for each in steps},
        moves=agreement(*_paired([(each.before, each.labels) for each in steps if each.before is not None])),
        moved=moved,
        refreshed=dict(Counter(name for each in steps for name in each.refreshed)),
        written=tuple(each.step for each in steps if each.written),
        without_text=tuple(step for step in read if step not in texts),
        judge=None if asked is None else asked.name,
        judged=None if asked is None else agreement(*_paired([(each.labels, each.judged) for each in steps])),
    )


@dataclass(frozen=True)
class _Items:
    """Whose answers the texts are compared with."""

    ids: Sequence[str]
    answers: Sequence[Answers]
    questions: Sequence[str]

    @classmethod
    def of(cls, store: Store) -> _Items:
        inputs = store.read_inputs()
        if inputs is None or "item" not in inputs.dims:
            raise AttnshiftError(
                f"there is no trace with conflict items in {str(store.path)!r}",
                expected=f"{INPUTS} and step-*.nc as `attnshift trace` writes them",
            )
        if "item_context_answer" not in inputs or "item_context_aliases" not in inputs:
            raise AttnshiftError(
                f"the trace in {str(store.path)!r} doesn't hold its items' answers",
                expected="item_context_answer and item_parametric_answer in its inputs",
                remedy="ingest it again with --conflicts",
            )
        answers = [
            Answers(*((str(answer), *json.loads(str(aliases))) for answer, aliases in sides))
            for sides in zip(
                *(
                    zip(inputs[f"item_{side}_answer"].values, inputs[f"item_{side}_aliases"].values, strict=True)
                    for side in ("context", "parametric")
                ),
                strict=True,
            )
        ]
        questions = inputs["item_question"].values.tolist() if "item_question" in inputs else [""] * len(answers)
        return cls(inputs["item"].values.tolist(), answers, questions)


@dataclass(frozen=True)
class _Step:
    """A step's labels before and now."""

    step: int
    texts: Sequence[str]
    before: Sequence[str] | None
    labels: Sequence[str]
    judged: Sequence[str]
    key_before: str
    refreshed: tuple[str, ...]
    written: bool

    def moved(self, items: _Items) -> list[Moved]:
        if self.before is None:
            return []
        rows = zip(items.ids, self.before, self.labels, self.texts, strict=True)
        return [Moved(self.step, item, old, new, text) for item, old, new, text in rows if old != new]


def _rescore_step(store: Store, step: int, items: _Items, texts: np.ndarray, judge: _Judged | None) -> _Step:
    header = store.read_header(step)
    keys = {} if header is None else header.keys
    held = store.read_variables(step, (AnswerLabel.name, ControlLabel.name, ControlGeneration.name, JUDGE))
    seen = Observation(items.answers, generation=texts.tolist(), control_generation=_control_texts(held))
    due = [measure for measure in (*FROM_TEXT, ControlLabel()) if _is_due(measure, keys)]
    values = {measure.name: np.asarray(measure.compute(seen)) for measure in due}
    old = held[AnswerLabel.name].values if AnswerLabel.name in held else None
    labels = values[AnswerLabel.name]
    changes = cell_dataset(values, {measure.name: measure for measure in due}, {})
    same = [m.name for m in due if keys.get(m.name) == m.key and np.array_equal(held[m.name].values, values[m.name])]
    changes = changes.drop_vars(same)
    judged: Sequence[str] = ()
    if judge is not None:
        kept = JUDGE in held and keys.get(JUDGE) == judge.key
        judged = held[JUDGE].values.tolist() if kept else judge.labels(texts.tolist())
        if not kept:
            changes[JUDGE] = xr.Variable("item", np.array(judged, object), judge.attributes)
    if changes.data_vars:
        store.update_cell(step, changes)
    return _Step(
        step=step,
        texts=texts.tolist(),
        before=None if old is None else old.tolist(),
        labels=labels.tolist(),
        judged=judged,
        key_before=keys.get(AnswerLabel.name, ""),
        refreshed=tuple(str(name) for name in changes.data_vars if name in keys.keys() - {AnswerLabel.name, JUDGE}),
        written=bool(changes.data_vars),
    )


def _is_due(measure: Measure, keys: Mapping[str, str]) -> bool:
    """Labels always; another variable where the step holds it by another formula, of a text as it is written now."""
    if measure.name == AnswerLabel.name:
        return True
    if measure.name == ControlLabel.name:
        return ControlGeneration.name in keys
    stale = measure.name in keys and keys[measure.name] != measure.key
    return stale and keys.get(Generation.name) == Generation().key


def _control_texts(held: Mapping[str, xr.Variable]) -> list[list[str | None]] | None:
    """By item and condition; where a condition couldn't be had there is no label either."""
    if ControlGeneration.name not in held:
        return None
    texts = held[ControlGeneration.name].values.tolist()
    if ControlLabel.name not in held:
        return texts
    labels = held[ControlLabel.name].values.tolist()
    rows = zip(texts, labels, strict=True)
    return [[text if label else None for text, label in zip(*row, strict=True)] for row in rows]


def _paired(parts: Sequence[tuple[Sequence[str], Sequence[str]]]) -> tuple[list[str], list[str]]:
    return [label for first, _ in parts for label in first], [label for _, second in parts for label in second]


@dataclass(frozen=True)
class _Judged:
    """A judge who is asked the same thing once."""

    judge: Judge
    items: _Items
    said: dict[tuple[str, str, str, str], str]

    @property
    def name(self) -> str:
        kind = type(self.judge)
        module = getattr(self.judge, "__module__", kind.__module__)
        return f"{module}:{getattr(self.judge, '__qualname__', kind.__qualname__)}"

    @property
    def key(self) -> str:
        return f"{JUDGE}/{self.name}"

    @property
    def attributes(self) -> dict[str, str]:
        return {"unit": "label", "measure": f"whose answer the greedy text asserts, says {self.name}", "key": self.key}

    def labels(self, texts: Sequence[str]) -> list[str]:
        rows = zip(texts, self.items.answers, self.items.questions, strict=True)
        return [self._label((text, each.context[0], each.parametric[0], question)) for text, each, question in rows]

    def _label(self, asked: tuple[str, str, str, str]) -> str:
        if asked not in self.said:
            try:
                said = self.judge(*asked)
            except Exception as error:  # somebody's program: whatever it raises is its fault
                raise AttnshiftError(
                    f"the judge {self.name} fails on {asked[0][:80]!r}: {type(error).__name__}: {error}",
                    expected="judge(text, context_answer, parametric_answer, question) to return a label",
                ) from error
            if said not in LABELS:
                raise AttnshiftError(
                    f"the judge {self.name} says {said!r} of {asked[0][:80]!r}", expected=f"one of {', '.join(LABELS)}"
                )
            self.said[asked] = str(said)
        return self.said[asked]
