"""Gradient norms of groups and of examples, and the push on attention, beside plain forwards and backwards."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.bench import Bench, largest_difference
from benchmarks.models import random_llama
from benchmarks.rows import Goal, Row, Section

BATCH = 4
IGNORED = -100

GROUP_GOALS = (Goal("time", 1.05), Goal("memory", 1.0))
EXAMPLE_GOALS = (Goal("time", 1.15),)
PUSH_GOALS = (Goal("time", 3.2),)


def gradients(bench: Bench) -> Section:
    """Norm of a group's mean gradient, for whole texts and for answers."""
    model, ids = _prepared(bench)
    length = ids.shape[1]
    return Section([_group(bench, model, ids, what, start) for what, start in _tails(length)])


def examples(bench: Bench) -> Section:
    """Norm of every example's own gradient."""
    from attnshift.models.ghost import example_gradient_norms

    model, ids = _prepared(bench)
    section = Section()
    for what, start in _tails(ids.shape[1]):
        labels = _labels(ids, start)
        ours = ("attnshift example_gradient_norms", partial(example_gradient_norms, model, ids, labels))
        plain = (f"plain forward and backward, {_size(ids)}", partial(plain_backward, model, ids, labels))
        section.rows.append(bench.compare(f"examples' gradient norms, {what}", ours, plain, EXAMPLE_GOALS))
    labels = _labels(ids, 1)
    ours = ("attnshift example_gradient_norms", partial(example_gradient_norms, model, ids, labels))
    for way, norms in (("a backward per example", _looped), ("vmap(grad)", _vmapped)):
        other = (f"{way}, {_size(ids)}", partial(norms, model, ids, labels))
        name = f"examples' gradient norms beside {way}"
        section.rows.append(bench.compare(name, ours, other, difference=largest_difference))
    return section


def push(bench: Bench) -> Section:
    """Two groups' push on attention: one backward for attention, one for each group."""
    from attnshift.models.attention import captured_attention
    from attnshift.models.directions import attention_gradient
    from attnshift.models.gradients import group_gradients
    from attnshift.models.parts import parameter_pieces

    model, ids = _prepared(bench)
    parameters = dict(model.named_parameters())
    pieces, budget = parameter_pieces(model), ids.numel()
    what, start = _tails(ids.shape[1])[0]
    targets, roles = _targets(ids, start), _roles(ids, start)

    def ours() -> Any:
        with captured_attention(model):
            towards = attention_gradient(model, parameters, targets, roles, budget, rows="last")
            groups = {"critical": targets, "non_critical": targets}
            return group_gradients(model, parameters, pieces, groups, budget, directions={"attention": towards})

    row = bench.compare(
        f"push of two groups on attention, {what}",
        ("attention_gradient, then group_gradients of two groups", ours),
        (f"one plain forward and backward, {_size(ids)}", lambda: plain_backward(model, ids, _labels(ids, start))),
        PUSH_GOALS,
    )
    return Section([row])


def plain_backward(model: Any, ids: Tensor, labels: Tensor) -> None:
    """One forward and one backward as anybody runs them; the gradient is freed at the end."""
    model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    model.zero_grad(set_to_none=True)


def plain_norm(model: Any, ids: Tensor, labels: Tensor) -> float:
    """The same, and the gradient's norm, summed in double precision: a float32 sum of millions of squares is off."""
    model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    norms = [torch.linalg.vector_norm(p.grad, dtype=torch.float64) for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def _prepared(bench: Bench) -> tuple[Any, Tensor]:
    model = random_llama(bench.shape, bench.device)
    return model, bench.tokens(BATCH, bench.length // 4)


def _tails(length: int) -> list[tuple[str, int]]:
    """What the loss is on, and where it starts."""
    answer = max(1, length // 8)
    return [("loss on every token", 1), (f"loss on {answer} of {length} tokens", length - answer)]


def _group(bench: Bench, model: Any, ids: Tensor, what: str, start: int) -> Row:
    from attnshift.models.attention import captured_attention
    from attnshift.models.gradients import group_gradients
    from attnshift.models.parts import parameter_pieces

    parameters, pieces = dict(model.named_parameters()), parameter_pieces(model)
    targets, labels = _targets(ids, start), _labels(ids, start)

    def ours() -> float:
        with captured_attention(model):
            found = group_gradients(model, parameters, pieces, {"critical": targets}, ids.numel())
        return float(np.sqrt(found.product.sum()))

    return bench.compare(
        f"group's gradient norm by part, {what}",
        ("attnshift group_gradients, one batch", ours),
        (f"plain forward and backward, .grad kept, {_size(ids)}", lambda: plain_backward(model, ids, labels)),
        GROUP_GOALS,
        lambda norm, _: abs(norm - plain_norm(model, ids, labels)),
    )


def _targets(ids: Tensor, start: int) -> list[Any]:
    from attnshift.models.forward import Target

    return [Target(row.astype(np.int32), start) for row in ids.cpu().numpy()]


def _labels(ids: Tensor, start: int) -> Tensor:
    labels = ids.clone()
    labels[:, :start] = IGNORED
    return labels


def _roles(ids: Tensor, start: int) -> list[np.ndarray]:
    from attnshift.data.roles import ANSWER, CONTEXT, QUESTION

    codes = np.full(ids.shape[1], CONTEXT, np.int8)
    codes[start // 2 : start], codes[start:] = QUESTION, ANSWER
    return [codes] * len(ids)


def _looped(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    norms = [plain_norm(model, ids[i : i + 1], labels[i : i + 1]) for i in range(len(ids))]
    return torch.tensor(norms, dtype=torch.float64)


def _vmapped(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    from torch.func import functional_call, grad, vmap

    def loss(parameters: dict[str, Tensor], one: Tensor, wanted: Tensor) -> Tensor:
        inputs = {"input_ids": one[None], "labels": wanted[None], "use_cache": False}
        return functional_call(model, parameters, (), inputs).loss

    detached = {name: p.detach() for name, p in model.named_parameters()}
    per_example = vmap(grad(loss), in_dims=(None, 0, 0))(detached, ids, labels)
    squares = [gradient.flatten(1).double().pow(2).sum(1) for gradient in per_example.values()]
    return torch.stack(squares).sum(0).sqrt()


def _size(ids: Tensor) -> str:
    return f"{ids.shape[0]} × {ids.shape[1]} tokens"
