"""The measures that ship with attnshift."""

from __future__ import annotations

from collections.abc import Sequence

from attnshift.errors import AttnshiftError
from attnshift.measures.attention_mass import AttentionMass, IftAttentionMass
from attnshift.measures.attribution import (
    BiasAttribution,
    ContextBudget,
    EmbeddingAttribution,
    HeadAttribution,
    MemoryBudget,
    MlpAttribution,
)
from attnshift.measures.context_mass_excess import ContextMassExcess
from attnshift.measures.control import ControlGeneration, ControlLabel, ControlMargin
from attnshift.measures.generation import CounterfactualAccuracy, Generation, ParametricAccuracy
from attnshift.measures.gradient_norm import ExampleGradientNorm, GradientCosine, GradientNorm, GradientNormByPart
from attnshift.measures.knockout import KnockoutEffect, KnockoutEffectByLayer
from attnshift.measures.known import KnownMargin, StillKnown
from attnshift.measures.label import AnswerLabel
from attnshift.measures.lens import LensMargin, LensMarginFinalScale
from attnshift.measures.logprobs import LogprobContextAnswer, LogprobParametricAnswer, LogprobParametricClosedBook
from attnshift.measures.lookback import LookbackRatio
from attnshift.measures.loss import ExactMatch, Loss, LossClosedBook
from attnshift.measures.margin import Margin, MarginFirstToken, MarginPerToken
from attnshift.measures.measure import Measure, by_name
from attnshift.measures.persuasion import ContextPersuasion
from attnshift.measures.push import (
    AttentionPush,
    AttentionPushByPart,
    AttentionPushPreconditioned,
    ExampleAttentionPush,
    ExampleMarginPush,
    MarginPush,
    MarginPushByPart,
    MarginPushPreconditioned,
)
from attnshift.measures.redeep import ExternalContextScore, ParametricKnowledgeScore
from attnshift.measures.retrieval import RetrievalScore

MEASURES: tuple[Measure, ...] = (
    AttentionMass(),
    ContextMassExcess(),
    Margin(),
    MarginPerToken(),
    MarginFirstToken(),
    LogprobContextAnswer(),
    LogprobParametricAnswer(),
    LogprobParametricClosedBook(),
    KnownMargin(),
    StillKnown(),
    Generation(),
    AnswerLabel(),
    CounterfactualAccuracy(),
    ParametricAccuracy(),
    IftAttentionMass(),
    Loss(),
    LossClosedBook(),
    ExactMatch(),
    GradientNorm(),
    GradientNormByPart(),
    GradientCosine(),
    ExampleGradientNorm(),
    AttentionPush(),
    AttentionPushByPart(),
    MarginPush(),
    MarginPushByPart(),
    ExampleAttentionPush(),
    ExampleMarginPush(),
)
"""Those that a trace holds unless others are asked for."""

CONTROLS: tuple[Measure, ...] = (ControlMargin(), ControlGeneration(), ControlLabel())
"""Those under control conditions: together they cost as much again as three times the items' scores and generations."""

FURTHER: tuple[Measure, ...] = (
    AttentionPushPreconditioned(),
    MarginPushPreconditioned(),
    HeadAttribution(),
    MlpAttribution(),
    EmbeddingAttribution(),
    BiasAttribution(),
    ContextBudget(),
    MemoryBudget(),
    LensMargin(),
    LensMarginFinalScale(),
    KnockoutEffect(),
    KnockoutEffectByLayer(),
    ContextPersuasion(),
    LookbackRatio(),
    RetrievalScore(),
    ExternalContextScore(),
    ParametricKnowledgeScore(),
    *CONTROLS,
)
"""Those that have to be asked for: not every run can give them, or they cost more than all others."""

FROM_TEXT: tuple[Measure, ...] = (AnswerLabel(), CounterfactualAccuracy(), ParametricAccuracy())
"""Those that follow from ``generation`` and the items' answers: they are renewed without a model."""


def choose_measures(asked: Sequence[str | Measure] | None, controls: bool = False) -> tuple[Measure, ...]:
    """Measures by name, or objects of your own; MEASURES where nothing is asked for; CONTROLS as well if wanted."""
    if asked is None:
        return (*MEASURES, *CONTROLS) if controls else MEASURES
    known = by_name((*MEASURES, *FURTHER))
    if not asked:
        raise AttnshiftError("no measure is named", expected=f"some of {', '.join(known)}")
    chosen: list[Measure] = []
    for measure in asked:
        if isinstance(measure, Measure):
            chosen.append(measure)
        elif measure in known:
            chosen.append(known[measure])
        else:
            raise AttnshiftError(f"there is no measure {measure!r}", expected=f"of {', '.join(known)}")
    chosen += [measure for measure in CONTROLS if controls and measure not in chosen]
    return tuple(by_name(chosen).values())
