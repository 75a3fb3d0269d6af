"""One pass over one checkpoint: everything that the measures asked for, each thing computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import Parameter

from attnshift.data.inputs import Inputs
from attnshift.data.prompts import Tokens
from attnshift.data.roles import ANSWER
from attnshift.errors import CheckpointError
from attnshift.measures.measure import Answers, Measure, Need, Observation
from attnshift.models.answer_row import read_answer_rows
from attnshift.models.contrast import item_contrasts
from attnshift.models.directions import attention_gradient, margin_gradient, preconditioned
from attnshift.models.forward import Rows, Target, score_targets
from attnshift.models.generate import TextEnd, generate_greedy
from attnshift.models.ghost import ExampleWatch
from attnshift.models.gradients import Gradient, group_gradients
from attnshift.models.knockout_effect import knockout_effects
from attnshift.models.known import known_margins
from attnshift.models.lookback import lookback_ratios
from attnshift.models.parts import parameter_pieces
from attnshift.models.persuasion import context_divergences
from attnshift.models.readings import AnswerRow, ExampleGradients, GroupGradients
from attnshift.models.redeep import external_context_scores, parametric_knowledge_scores
from attnshift.models.retrieval import retrieval_scores
from attnshift.models.subject import Subject
from attnshift.tracing.controls import control_margins

ANSWER_READS: Final[Mapping[Need, Callable[[Any, Sequence[Target], Sequence[np.ndarray], int], Any]]] = {
    "lookback": lookback_ratios,
    "retrieval": retrieval_scores,
    "external_context": external_context_scores,
    "parametric_knowledge": parametric_knowledge_scores,
}
"""Needs that take a pass of their own over the rows that predict the context's answer."""


@dataclass(frozen=True)
class Settings:
    """What changes numbers beyond the data and the weights."""

    rows: Rows = "last"
    max_new_tokens: int = 32
    token_budget: int = 8192
    """tokens in a batch, padding included; changes numbers by rounding only"""
    gradients_on_cpu: bool = False
    """whether gradients that are held live there instead of on the model's device"""

    @property
    def hold(self) -> torch.device | None:
        """The device of held gradients; None for each parameter's own."""
        return torch.device("cpu") if self.gradients_on_cpu else None


def needs_of(measures: Iterable[Measure]) -> frozenset[Need]:
    """All that some measures need together."""
    return frozenset(need for measure in measures for need in measure.needs)


def observe(
    subject: Subject, tokenizer: Any, inputs: Inputs, needs: frozenset[Need], settings: Settings
) -> Observation:
    """Run a model on the inputs; raises CheckpointError where its numbers aren't numbers."""
    _check_vocabulary(subject.model, inputs)
    seen: dict[str, Any] = {
        "answers": [
            Answers((i.context_answer, *i.context_aliases), (i.parametric_answer, *i.parametric_aliases))
            for i in inputs.items
        ],
        "context_answer_ids": [t.context_answer_ids for t in inputs.item_tokens],
        "parametric_answer_ids": [t.parametric_answer_ids for t in inputs.item_tokens],
    }
    if inputs.items:
        seen |= _observe_items(subject.model, tokenizer, inputs, needs, settings)
    if inputs.examples:
        seen |= _observe_examples(subject, inputs, needs, settings)
    return Observation(**seen)


def closed_book_nats(
    subject: Subject, inputs: Inputs, positions: Sequence[int], token_budget: int
) -> Float[np.ndarray, "example answer_position"]:
    """Loss in nats of every target token of some examples, without their context; NaN behind a target's end."""
    targets = [Target.of(inputs.example_tokens[i].closed_book) for i in positions]
    scores, _ = score_targets(subject.model, targets, token_budget)
    return -scores.logprob


def closed_book_losses(subject: Subject, inputs: Inputs, positions: Sequence[int], token_budget: int) -> np.ndarray:
    """Mean loss in nats per target token of some examples, without their context."""
    return np.nanmean(closed_book_nats(subject, inputs, positions, token_budget), -1)


def _observe_items(
    model: Any, tokenizer: Any, inputs: Inputs, needs: frozenset[Need], settings: Settings
) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    tokens = inputs.item_tokens
    targets = [Target.after(t.prompt, t.context_answer_ids) for t in tokens]
    roles = [_continued_roles(t.prompt, t.context_answer_ids) for t in tokens]
    if needs & {"item_attention", "context_answer"}:
        seen["context_answer"], seen["item_attention"] = score_targets(
            model, targets, settings.token_budget, roles if "item_attention" in needs else None, settings.rows
        )
    for need in needs & ANSWER_READS.keys():
        seen[need] = ANSWER_READS[need](model, targets, roles, settings.token_budget)
    if "parametric_answer" in needs:
        targets = [Target.after(t.prompt, t.parametric_answer_ids) for t in tokens]
        seen["parametric_answer"], _ = score_targets(model, targets, settings.token_budget)
    if "parametric_closed_book" in needs:
        targets = [Target.after(t.closed_book, t.parametric_answer_ids) for t in tokens]
        seen["parametric_closed_book"], _ = score_targets(model, targets, settings.token_budget)
    if "persuasion" in needs:
        seen["persuasion"] = context_divergences(model, tokens, settings.token_budget)
    if "known" in needs:
        seen["known"] = known_margins(model, inputs, settings.token_budget)
    if "generation" in needs:
        seen["generation"] = generated_texts(model, tokenizer, [t.prompt.ids for t in tokens], settings)
    if "control_margin" in needs:
        seen["control_margin"] = control_margins(model, inputs, settings.token_budget)
    if "control_generation" in needs:
        seen["control_generation"] = _control_texts(model, tokenizer, inputs, settings)
    return seen | _observe_answer_rows(model, inputs, needs, settings)


def _control_texts(model: Any, tokenizer: Any, inputs: Inputs, settings: Settings) -> list[list[str | None]]:
    """Greedy texts by item and control condition; None where an item has none."""
    there = [(i, c) for c, control in enumerate(inputs.controls) for i, t in enumerate(control.tokens) if t is not None]
    prompts = [tokens.prompt.ids for control in inputs.controls for tokens in control.tokens if tokens is not None]
    texts: list[list[str | None]] = [[None] * len(inputs.controls) for _ in inputs.items]
    for (i, c), text in zip(there, generated_texts(model, tokenizer, prompts, settings), strict=True):
        texts[i][c] = text
    return texts


def _observe_answer_rows(model: Any, inputs: Inputs, needs: frozenset[Need], settings: Settings) -> dict[str, Any]:
    """The row that predicts where an item's answers part; NaN for items whose answers don't."""
    seen: dict[str, Any] = {}
    if not needs & {"answer_row", "knockout", "knockout_by_layer"}:
        return seen
    places, contrasts = item_contrasts(inputs.item_tokens)
    if "answer_row" in needs:
        row = read_answer_rows(model, contrasts, settings.token_budget)
        seen["answer_row"] = AnswerRow.unknown(len(inputs.items), row)
        seen["answer_row"].put(np.array(places), row)
    if needs & {"knockout", "knockout_by_layer"}:
        found = knockout_effects(model, contrasts, settings.token_budget, by_head="knockout" in needs)
        seen["knockout"] = found.among(len(inputs.items), np.array(places))
    return seen


def _observe_examples(subject: Subject, inputs: Inputs, needs: frozenset[Need], settings: Settings) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    targets = [Target.of(t.sequence) for t in inputs.example_tokens]
    if needs & {"example_attention", "target"}:
        roles = [t.sequence.roles for t in inputs.example_tokens] if "example_attention" in needs else None
        seen["target"], seen["example_attention"] = score_targets(
            subject.model, targets, settings.token_budget, roles, settings.rows
        )
    if "target_closed_book" in needs:
        closed = [Target.of(t.closed_book) for t in inputs.example_tokens]
        seen["target_closed_book"], _ = score_targets(subject.model, closed, settings.token_budget)
    if "group_gradient" in needs:
        groups = _observe_gradients(subject, inputs, targets, needs, settings)
        seen |= {"group_gradient": groups, "example_gradient": _by_example(inputs, groups)}
    return seen


def _observe_gradients(
    subject: Subject, inputs: Inputs, targets: Sequence[Target], needs: frozenset[Need], settings: Settings
) -> GroupGradients:
    by_group: Mapping[str, Sequence[Target]] = {
        group: [targets[i] for i in inputs.train_positions(group)] for group in inputs.groups
    }
    both = {"critical", "non_critical"} <= set(by_group) and "gradient_cross_product" in needs
    model, parameters = subject.model, subject.trained_parameters()
    directions = _directions(subject, parameters, inputs, needs, settings)
    gradients = group_gradients(
        model,
        parameters,
        parameter_pieces(model, parameters),
        by_group,
        settings.token_budget,
        cross=("critical", "non_critical") if both else None,
        directions=directions,
        watch=ExampleWatch(model, parameters, directions) if "example_gradient" in needs else None,
        hold=settings.hold,
    )
    if not np.isfinite(np.einsum("ggp->gp", gradients.product)).all():
        raise CheckpointError("the gradients are not numbers", expected="finite weights", remedy="--dtype float32")
    return gradients


def _directions(
    subject: Subject,
    parameters: Mapping[str, Parameter],
    inputs: Inputs,
    needs: frozenset[Need],
    settings: Settings,
) -> dict[str, Gradient]:
    """Gradients of what may be pushed, by the name of the push."""
    found: dict[str, Gradient] = {}
    model, tokens, budget = subject.model, inputs.item_tokens, settings.token_budget
    context = [Target.after(t.prompt, t.context_answer_ids) for t in tokens]
    if "attention_push" in needs:
        roles = [_continued_roles(t.prompt, t.context_answer_ids) for t in tokens]
        found["attention_push"] = attention_gradient(
            model, parameters, context, roles, budget, settings.rows, settings.hold
        )
    if "margin_push" in needs:
        parametric = [Target.after(t.prompt, t.parametric_answer_ids) for t in tokens]
        found["margin_push"] = margin_gradient(model, parameters, context, parametric, budget, settings.hold)
    if "preconditioner" in needs and (moments := subject.second_moments()) is not None:
        found |= {f"{name}_preconditioned": preconditioned(found[name], moments) for name in list(found)}
    return found


def _by_example(inputs: Inputs, groups: GroupGradients) -> ExampleGradients | None:
    """The groups' examples in the order of all examples; NaN for those that aren't trained on."""
    if not groups.examples:
        return None
    everyone = ExampleGradients.unknown(len(inputs.examples), groups.push)
    for group in inputs.groups:
        everyone.put(np.array(inputs.train_positions(group)), groups.examples[group])
    return everyone


def generated_texts(model: Any, tokenizer: Any, prompts: Sequence[np.ndarray], settings: Settings) -> list[str]:
    """Greedy continuations, raw but for special tokens: what ended a text without being EOS is its last piece."""
    ends = eos_ids(model, tokenizer)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    spelt = tokenizer.convert_ids_to_tokens(sorted(ends & set(tokenizer.all_special_ids)))
    text_end = TextEnd(decode, tuple(spelling for spelling in spelt if spelling.strip()))
    written = generate_greedy(model, prompts, settings.max_new_tokens, ends, settings.token_budget, text_end)
    return [decode(ids) for ids in written]


def eos_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a generation: the tokenizer's EOS and those of the model's generation config."""
    stated = model.generation_config.eos_token_id
    ids = stated if isinstance(stated, list) else [stated]
    return {
        i for i in [*ids, tokenizer.eos_token_id] if i is not None and i < model.config.get_text_config().vocab_size
    }


def _continued_roles(prompt: Tokens, answer: np.ndarray) -> np.ndarray:
    return np.concatenate([prompt.roles, np.full(len(answer), ANSWER, np.int8)])


def _check_vocabulary(model: Any, inputs: Inputs) -> None:
    size = model.get_input_embeddings().num_embeddings
    sequences = [t.prompt.ids for t in inputs.item_tokens] + [t.sequence.ids for t in inputs.example_tokens]
    sequences += [t.context_answer_ids for t in inputs.item_tokens]
    sequences += [t.parametric_answer_ids for t in inputs.item_tokens]
    largest = max((int(ids.max()) for ids in sequences), default=0)
    if largest >= size:
        raise CheckpointError(
            f"the prompts use token {largest}, the model knows {size} tokens",
            expected="a tokenizer that belongs to the checkpoint",
            remedy="name the right one with --tokenizer, or a base with the same vocabulary",
        )
