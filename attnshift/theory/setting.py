"""Every number of the one-layer model, with the symbol it has in the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

from attnshift.errors import AttnshiftError

Trained = Literal["qk", "v", "both"]
"""Which matrices gradient descent moves: W_KQ (the paper's analysis), W_V, or both."""

_COUNTS: Final = {"n_critical": 0, "n_non_critical": 0, "n_recall": 0, "n_counterfactual": 0}
_AT_LEAST: Final = {**_COUNTS, "n_test": 1, "n_answers": 2, "n_subjects": 0, "steps": 0, "seed": 0}


@dataclass(frozen=True)
class Setting:
    """A world, its finetuning points and how they are trained on; the defaults are the homogeneous golden setting.

    Symbols are those of Goyal et al. (2410.10796) unless marked *ours*.

    Raises AttnshiftError for the first number that makes no sense.
    """

    n_critical: int = 10
    """n_C, points whose subject finetuning alone knows: only the context gives the answer"""
    n_non_critical: int = 10
    """n_M (the paper's C+S), points whose context repeats what the model remembers of the subject"""
    n_recall: int = 0
    """n_S, points without a context: subject and relation, answered from memory"""
    n_counterfactual: int = 0
    """points whose context contradicts memory and is right: the paper's augmentation"""
    n_test: int = 200
    """conflicts that training never sees: a context that contradicts memory; they only differ with a spread"""
    n_answers: int = 200
    """K_A, answers that there are"""
    n_subjects: int = 40
    """K_S, subjects in the vocabulary; never an answer, logit 0"""
    delta_context: float = 0.1
    """δ_C, probability of the answer if all attention were on the context, before finetuning"""
    delta_memory: float = 0.5
    """δ_M, the same for a known subject"""
    answer_logit: float = 0.5
    """o_c, logit of every answer that nothing speaks for"""
    relation_logit: float = 0.1
    """o_r, logit of the relation token"""
    known: float = 0.0
    """ρ (*ours*), squared part of a direction that known subjects share in their embedding; 0 ≤ ρ < 1/2"""
    spread: float = 0.0
    """standard deviation of the log-odds of every single δ (*ours*); 0 is homogeneous"""
    attention_spread: float = 0.0
    """standard deviation of the test conflicts' attention gap before finetuning (*ours*)"""
    filtered: float = 0.0
    """part of the points with a context that is dropped before training, best known ones first: the paper's filter
    drops .25"""
    trained: Trained = "qk"
    """what gradient descent moves: ``qk``, ``v`` or ``both``"""
    learning_rate: float = 1.0
    """η, of full-batch gradient descent on the mean cross-entropy"""
    steps: int = 600
    """updates; step 0 is the model before finetuning"""
    seed: int = 0
    """of what is drawn where there is a spread; each purpose has random numbers of its own"""

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check_kind(field.name)
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise self._wrong(name, f"{least} or more")
        if not self.n_points:
            told = ", ".join(f"{name}=0" for name in _COUNTS)
            raise AttnshiftError(f"there is nothing to train on: {told}", expected="a point at least")
        for name in ("delta_context", "delta_memory"):
            if not 0 < getattr(self, name) < 1:
                raise self._wrong(name, "a probability between 0 and 1, neither of them")
        if not 0 <= self.known < 0.5:
            raise self._wrong("known", "0 ≤ ρ < 0.5: at 0.5 known subjects would have nothing of their own")
        for name in ("spread", "attention_spread"):
            if getattr(self, name) < 0:
                raise self._wrong(name, "0 or more")
        if self.learning_rate <= 0:
            raise self._wrong("learning_rate", "more than 0")
        if self.trained not in get_args(Trained):
            raise self._wrong("trained", f"one of {', '.join(get_args(Trained))}")
        if not 0 <= self.filtered <= 1 or self.n_dropped > self.n_non_critical:
            raise self._wrong("filtered", f"a part that the {self.n_non_critical} non-critical points can lose")
        if not self.n_points - self.n_dropped:
            raise AttnshiftError(f"filtered={self.filtered} leaves no point", expected="a point to train on")

    def _check_kind(self, name: str) -> None:
        value = getattr(self, name)
        if name in _AT_LEAST:
            if isinstance(value, bool) or not isinstance(value, int):
                raise self._wrong(name, "a whole number")
        elif name != "trained" and not (isinstance(value, int | float) and math.isfinite(value)):
            raise self._wrong(name, "a finite number")

    def _wrong(self, name: str, expected: str) -> AttnshiftError:
        return AttnshiftError(f"{name}={getattr(self, name)!r} makes no setting of the theory", expected=expected)

    @property
    def n_points(self) -> int:
        """Points before the filter."""
        return self.n_critical + self.n_non_critical + self.n_recall + self.n_counterfactual

    @property
    def n_dropped(self) -> int:
        """How many points the filter drops."""
        return round(self.filtered * (self.n_points - self.n_recall))

    @property
    def log_rest(self) -> float:
        """log Z, Z = (K_A − 1) e^{o_c} + e^{o_r} + K_S: everything but the answer, in logits."""
        answers = (self.n_answers - 1) * math.exp(self.answer_logit)
        return math.log(answers + math.exp(self.relation_logit) + self.n_subjects)

    @property
    def gap_context(self) -> float:
        """L_C = logit δ_C + log Z − o_c: what the context's value adds to its answer's logit."""
        return self.gap(self.delta_context)

    @property
    def gap_memory(self) -> float:
        """L_M = logit δ_M + log Z − o_c: what a known subject's value adds to its answer's logit."""
        return self.gap(self.delta_memory)

    def gap(self, probability: float) -> float:
        """The logit gap over an ordinary answer that makes an answer this probable under full attention."""
        return math.log(probability / (1 - probability)) + self.log_rest - self.answer_logit
