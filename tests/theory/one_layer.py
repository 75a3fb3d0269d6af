"""The oracle: the one-layer model as a torch module with its full matrices, trained by autograd.

Every token has an embedding in one space: θ_C, θ_S, θ_K, the relation, and a direction of its own. Nothing here knows
that most of the matrices never move.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from attnshift.theory import Setting, Trajectory
from attnshift.theory.points import KINDS, make_conflicts, make_points

THETA_C, THETA_S, THETA_K, RELATION, BIAS = range(5)


class OneLayer(torch.nn.Module):
    """logits = W_V X softmax(Xᵀ W_KQ φ(r)), X the embeddings of the keys."""

    def __init__(self, setting: Setting, points, conflicts) -> None:
        super().__init__()
        n, items = len(points), setting.n_test
        self.width = 5 + 2 * (n + items)
        self.vocabulary = setting.n_answers + 1 + setting.n_subjects
        self.rho = setting.known
        eye = torch.eye(self.width, dtype=torch.float64)
        self.relation = eye[RELATION]
        memory = torch.zeros(self.vocabulary, self.width, dtype=torch.float64)
        base = torch.zeros(self.vocabulary, dtype=torch.float64)
        base[: setting.n_answers], base[setting.n_answers] = setting.answer_logit, setting.relation_logit

        def context(own: int, answer: int, gap: float) -> torch.Tensor:
            memory[answer, own] += gap / math.sqrt(0.5)
            return math.sqrt(0.5) * (eye[THETA_C] + eye[own])

        def subject(own: int, known: bool, answer: int, gap: float) -> torch.Tensor:
            rest = math.sqrt(0.5 - self.rho * known)
            memory[answer, own] += gap / rest
            return math.sqrt(0.5) * eye[THETA_S] + math.sqrt(self.rho) * known * eye[THETA_K] + rest * eye[own]

        keys = []
        for i in range(n):
            kind, a, b = KINDS[points.kind[i]], 5 + 2 * i, 6 + 2 * i
            label, gap = int(points.label[i]), float(points.first_gap[i])
            if kind == "recall":
                pair = subject(a, True, label, gap), self.relation
            elif kind == "critical":
                pair = context(a, label, gap), subject(b, False, 0, 0.0)
            elif kind == "non_critical":
                pair = context(a, label, gap), subject(b, True, label, float(points.second_gap[i]))
            else:
                pair = context(a, label, gap), subject(b, True, int(points.other[i]), float(points.other_gap[i]))
            keys.append(torch.stack(pair))
        tests = []
        for j in range(items):
            a, b = 5 + 2 * (n + j), 6 + 2 * (n + j)
            of = [x[j] for x in (conflicts.context_answer, conflicts.context_gap)]
            sm = [x[j] for x in (conflicts.memory_answer, conflicts.memory_gap)]
            tests.append(
                torch.stack([context(a, int(of[0]), float(of[1])), subject(b, True, int(sm[0]), float(sm[1]))])
            )
        self.keys, self.tests, self.base = torch.stack(keys), torch.stack(tests), base
        self.start = torch.from_numpy(conflicts.attention_gap)
        self.value = torch.nn.Parameter(memory)
        self.key_query = torch.nn.Parameter(torch.zeros(self.width, self.width, dtype=torch.float64))

    def attend(self, keys: torch.Tensor, first: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention to either key and the logits; ``first`` is added to the first key's attention logit."""
        scores = keys @ self.key_query @ self.relation
        scores = scores + torch.stack([torch.zeros(len(keys), dtype=torch.float64) + first, torch.zeros(len(keys))], 1)
        attention = scores.softmax(-1)
        # What every value shares (the logits of ordinary tokens) passes through any attention unchanged.
        return attention, torch.einsum("nk,nkd,vd->nv", attention, keys, self.value) + self.base


def train(setting: Setting) -> dict[str, np.ndarray]:
    """What `simulate` returns, by autograd; the gradients come from a dummy gap on every point."""
    points = make_points(setting)
    conflicts = make_conflicts(setting, points)
    model = OneLayer(setting, points, conflicts)
    labels = torch.from_numpy(points.label)
    trained = {"qk": [model.key_query], "v": [model.value], "both": [model.key_query, model.value]}[setting.trained]
    rows: dict[str, list] = {name: [] for name in ("attention", "margin", "loss", *KINDS, "at_critical", "push")}
    for _ in range(setting.steps + 1):
        gap = torch.zeros(len(points), dtype=torch.float64, requires_grad=True)
        attention, logits = model.attend(model.keys, gap)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        pull, by_keys = torch.autograd.grad(loss, [gap, model.key_query], retain_graph=True)
        with torch.no_grad():
            seen, answers = model.attend(model.tests, model.start)
            at = torch.arange(setting.n_test)
            margin = answers[at, conflicts.context_answer] - answers[at, conflicts.memory_answer]
            moved = (model.tests[0, 0] - model.tests[0, 1]) @ -by_keys @ model.relation
        found = {"attention": seen[:, 0].mean(), "margin": margin, "loss": loss, "push": moved}
        found |= {kind: -pull[torch.from_numpy(points.members(kind))].sum() for kind in KINDS}
        found["at_critical"] = attention[torch.from_numpy(points.members("critical")), 0].mean()
        for name, value in found.items():
            rows[name].append(value.detach().numpy().copy())
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for weight, gradient in zip(trained, gradients, strict=True):
                weight -= setting.learning_rate * gradient
    return {name: np.array(values) for name, values in rows.items()}


def compared(run: Trajectory) -> dict[str, np.ndarray]:
    """The same of ours."""
    groups = (run.gradient_critical, run.gradient_non_critical, run.gradient_counterfactual, run.gradient_recall)
    rest = {"loss": run.loss, "at_critical": run.attention_critical, "push": run.push}
    return {"attention": run.attention, "margin": run.margin, **dict(zip(KINDS, groups, strict=True)), **rest}
