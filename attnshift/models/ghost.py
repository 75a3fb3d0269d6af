"""Every example's own gradient in one backward: its norm, and its inner product with a given direction.

A matrix W with inputs a_t and output gradients b_t has the gradient G = sum_t b_t a_t'. Where the sequence is short,
||G||^2 = sum_tu <a_t, a_u> <b_t, b_u> and <G, D> = sum_t <b_t, D a_t> never form G ("ghost" norms: Goodfellow 2015, Li
et al. 2022); where it is long, forming G for one example at a time is cheaper. Either way exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.functional import cross_entropy
from transformers.pytorch_utils import Conv1D

from attnshift.errors import AttnshiftError
from attnshift.models.norms import precise
from attnshift.models.readings import ExampleGradients

IGNORED = -100
"""Label of a token without loss, as everywhere in transformers."""


def example_gradient_norms(
    model: Any,
    input_ids: Int[Tensor, "batch position"],
    labels: Int[Tensor, "batch position"],
    attention_mask: Int[Tensor, "batch position"] | None = None,
) -> Float[Tensor, "batch"]:
    """Norm of the gradient of each example's loss, for any HF causal LM in memory, in one forward and backward.

    The loss of an example is the mean cross-entropy in nats over its labelled tokens, each predicted from the tokens
    before it; the gradient is taken with respect to the parameters that require one (all of them where none does), and
    for an adapted layer with respect to the weight matrix that the adapter changes if that one is among them. The model
    is left as it was: ``.grad``, ``requires_grad``, train mode.

    Parameters
    ----------
    model
        A transformers causal LM; experts that are stacked into one tensor are refused.
    input_ids
        Token ids, padded on either side.
    labels
        Like ``input_ids``; -100 where there is no loss.
    attention_mask
        1 for real tokens, 0 for padding; by default nothing is padding.

    Returns
    -------
    One norm per example, in nats per unit of parameter, in float32 (float64 for a float64 model).
    """
    if labels.shape != input_ids.shape:
        raise AttnshiftError(
            f"labels have the shape {tuple(labels.shape)}, input_ids {tuple(input_ids.shape)}",
            expected="a label for every token, -100 where there is no loss",
        )
    if attention_mask is not None:
        input_ids, labels = _padding_last(input_ids, labels, attention_mask)
    wanted = labels[:, 1:] != IGNORED
    if not bool(wanted.any(1).all()):
        empty = int((~wanted.any(1)).nonzero()[0, 0])
        raise AttnshiftError(f"example {empty} has no labelled token to predict", expected="labels other than -100")
    named = dict(model.named_parameters())
    chosen = {name: p for name, p in named.items() if p.requires_grad} or named
    watch = ExampleWatch(model, chosen)
    kept = wanted.any(0).nonzero()[:, 0]
    with _frozen(model), watch.watching(), torch.enable_grad():
        logits = model(input_ids=input_ids, logits_to_keep=kept.cpu(), use_cache=False).logits
        logits = logits if logits.dtype == torch.float64 else logits.float()
        chosen_labels = labels[:, kept + 1]  # rows one after the other: classes in the middle would cost two copies
        nats = cross_entropy(logits.flatten(0, 1), chosen_labels.flatten(), ignore_index=IGNORED, reduction="none")
        (nats.view_as(chosen_labels).sum(1) / wanted.sum(1)).sum().backward()
    return watch.squares.clamp(min=0).sqrt()


def _padding_last(ids: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Real tokens first: behind them padding needs no mask, since a causal row never sees what comes later."""
    order = (mask == 0).to(torch.int8).argsort(dim=-1, stable=True)
    return ids.gather(1, order), labels.masked_fill(mask == 0, IGNORED).gather(1, order)


def unwatchable(model: Any, parameters: Mapping[str, nn.Parameter]) -> str:
    """The first module whose parameters' gradients can't be told apart by example; empty where there is none."""
    return next((name for name, module in _owners(model, parameters) if not _is_known(module)), "")


@dataclass
class ExampleWatch:
    """Within `watching`, a backward of a sum over examples leaves each one's squared norm and inner products."""

    model: Any
    parameters: Mapping[str, nn.Parameter]
    """with respect to which gradients are taken; they needn't require one"""
    directions: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """by name: something to take inner products with, by parameter"""
    squares: Tensor = field(default_factory=lambda: torch.zeros(0))
    products: dict[str, Tensor] = field(default_factory=dict)
    _tied: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _done: set[nn.Module] = field(default_factory=set)
    _recomputing: bool = False

    def __post_init__(self) -> None:
        if unknown := unwatchable(self.model, self.parameters):
            raise AttnshiftError(
                f"gradients per example: {unknown} ({type(self.model.get_submodule(unknown)).__name__}) holds "
                "parameters in a form that mixes the examples of a batch",
                expected="linear layers, embeddings and norms (experts that are stacked into one tensor are none)",
                remedy="leave example_gradient_norm and the example pushes out with --measures",
            )
        names = {id(p): name for name, p in self.parameters.items()}
        self._named = {
            module: {attribute: names[id(p)] for attribute, p in module._parameters.items() if id(p) in names}
            for _, module in _owners(self.model, self.parameters)
        }
        embed, head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        self._is_tied = head is not None and embed.weight is head.weight and embed in self._named

    def empty(self, count: int) -> ExampleGradients:
        """Room for what so many examples will show."""
        return ExampleGradients.unknown(count, self.directions)

    def taken(self, scale: float = 1.0) -> ExampleGradients:
        """What the backward just ended left; ``scale`` undoes the weight that each loss had in the sum."""
        return ExampleGradients(
            (self.squares.clamp(min=0).sqrt() * scale).double().cpu().numpy(),
            {name: (-values * scale).double().cpu().numpy() for name, values in self.products.items()},
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the model for one forward and backward."""
        self._tied, self._done = {}, set()
        embed = self.model.get_input_embeddings()
        hooks = [embed.register_forward_hook(self._start)]
        hooks += [module.register_forward_hook(self._forward) for module in self._named]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._tied = {}

    def _start(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        """Everything behind the embedding gets a gradient, whatever requires one."""
        dtype = torch.promote_types(output.dtype, torch.float32)
        self.squares = torch.zeros(len(arguments[0]), dtype=dtype, device=output.device)
        self.products = {name: torch.zeros_like(self.squares) for name in self.directions}
        if torch.is_grad_enabled() and not output.requires_grad:
            output.requires_grad_(True)

    def _forward(self, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if self._recomputing:
            return None
        if not output.requires_grad:  # a position embedding may not, while its parameter is frozen
            if not (torch.is_grad_enabled() and isinstance(module, nn.Embedding)):
                return None
            output.requires_grad_(True)
        value, batch = arguments[0].detach(), len(self.squares)
        if isinstance(module, nn.Embedding) and len(value) == 1 < batch:  # positions that all examples share
            value, output = value.expand(batch, -1), output.expand(batch, *output.shape[1:])
        if len(value) != batch:
            raise AttnshiftError(
                f"gradients per example: {type(module).__name__} sees {tuple(value.shape)} for {batch} examples",
                expected="layers that keep the examples of a batch apart",
                remedy="leave example_gradient_norm and the example pushes out with --measures",
            )
        output.register_hook(lambda gradient: self._backward(module, value, gradient.detach()))
        return output

    @torch.no_grad()
    def _backward(self, module: nn.Module, value: Tensor, gradient: Tensor) -> None:
        if module in self._done:
            raise AttnshiftError(
                f"gradients per example: {type(module).__name__} is used twice in one forward",
                expected="layers with weights of their own (only tied embeddings are known to be shared)",
                remedy="leave example_gradient_norm and the example pushes out with --measures",
            )
        self._done.add(module)
        if isinstance(module, nn.Linear | Conv1D):
            self._linear(module, value.flatten(1, -2), gradient.flatten(1, -2))
        elif isinstance(module, nn.Embedding):
            self._embedding(module, value, gradient * getattr(module, "embed_scale", 1.0))
        else:
            self._small(module, value, gradient)

    def _linear(
        self, module: Any, inputs: Float[Tensor, "batch position in"], gradient: Float[Tensor, "batch position out"]
    ) -> None:
        names = self._named[module]
        if "bias" in names:
            self._add(names["bias"], gradient.sum(1))
        if "weight" not in names:
            return
        left, right = (inputs, gradient) if isinstance(module, Conv1D) else (gradient, inputs)
        directions = self._directions(names["weight"], left)
        if left.shape[1] * (left.shape[2] + right.shape[2]) < left.shape[2] * right.shape[2]:
            a, b = precise(left), precise(right)
            self.squares += (torch.bmm(a, a.mT) * torch.bmm(b, b.mT)).sum((1, 2)).to(self.squares)
            for name, direction in directions.items():
                self.products[name] += ((a @ direction) * b).sum((1, 2)).to(self.squares)
        else:
            for i in range(len(left)):  # one matrix at a time
                self._add_matrix(i, precise(left[i].T @ right[i]), directions)
        if self._is_tied and names["weight"] in self._tied_names():
            self._tie("head", inputs, gradient)

    def _add_matrix(self, i: int, matrix: Tensor, directions: Mapping[str, Tensor]) -> None:
        flat = matrix.reshape(-1)
        self.squares[i] += torch.dot(flat, flat)
        for name, direction in directions.items():
            self.products[name][i] += torch.dot(flat, direction.reshape(-1))

    def _embedding(self, module: nn.Embedding, ids: Tensor, gradient: Tensor) -> None:
        name = self._named[module]["weight"]
        batch, width = len(ids), gradient.shape[-1]
        example = torch.arange(batch, device=ids.device)[:, None].expand(ids.shape)
        keys, inverse = torch.unique(example * module.num_embeddings + ids, return_inverse=True)
        rows = torch.zeros(len(keys), width, dtype=self.squares.dtype, device=ids.device)
        rows.index_add_(0, inverse.flatten(), gradient.reshape(-1, width).to(rows.dtype))
        owner = keys // module.num_embeddings
        self.squares.index_add_(0, owner, rows.pow(2).sum(1).to(self.squares))
        for direction_name, direction in self._directions(name, rows).items():
            values = (rows * direction[keys % module.num_embeddings]).sum(1)
            self.products[direction_name].index_add_(0, owner, values.to(self.squares))
        if self._is_tied and name in self._tied_names():
            self._tie("embed", ids, gradient)

    def _small(self, module: nn.Module, value: Tensor, gradient: Tensor) -> None:
        """Vectors of a norm: their gradients per example are small enough to be formed."""
        parameters = {attribute: module._parameters[attribute] for attribute in self._named[module]}

        def of_one(one: Tensor, from_output: Tensor) -> dict[str, Tensor]:
            pull = vjp(lambda p: functional_call(module, p, (one,)), parameters)[1]
            return pull(from_output)[0]

        self._recomputing = True
        with torch.enable_grad():
            found = vmap(of_one)(value, gradient)
        self._recomputing = False
        for attribute, name in self._named[module].items():
            self._add(name, found[attribute].detach())

    def _add(self, name: str, gradients: Float[Tensor, "batch ..."]) -> None:
        flat = precise(gradients.flatten(1))
        self.squares += flat.pow(2).sum(1).to(self.squares)
        for direction_name, direction in self._directions(name, flat).items():
            self.products[direction_name] += (flat @ direction.reshape(-1)).to(self.squares)

    def _directions(self, name: str, like: Tensor) -> dict[str, Tensor]:
        dtype = torch.promote_types(like.dtype, torch.float32)
        found = {key: direction[name] for key, direction in self.directions.items() if name in direction}
        return {key: tensor.to(like.device, dtype) for key, tensor in found.items()}

    def _tied_names(self) -> set[str]:
        return {self._named[self.model.get_input_embeddings()]["weight"]}

    def _tie(self, end: str, inputs: Tensor, gradient: Tensor) -> None:
        """||E + H||^2 of a matrix used at both ends lacks 2 <E, H> = 2 sum_tu H_u[token t] <input of row u, e_t>."""
        self._tied[end] = (inputs, precise(gradient))
        if len(self._tied) == 2:
            (ids, embedded), (rows, logits) = self._tied["embed"], self._tied["head"]
            weight = logits.gather(2, ids[:, None].expand(-1, logits.shape[1], -1))
            cross = (weight * torch.bmm(precise(rows), embedded.mT)).sum((1, 2))
            self.squares += 2 * cross.to(self.squares)


def _owners(model: Any, parameters: Mapping[str, nn.Parameter]) -> list[tuple[str, nn.Module]]:
    """Modules that hold one of the parameters themselves."""
    wanted = {id(p) for p in parameters.values()}
    return [
        (name, module)
        for name, module in model.named_modules()
        if any(id(p) in wanted for p in module._parameters.values())
    ]


def _is_known(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear | Conv1D | nn.Embedding):
        return True
    is_leaf = not any(True for _ in module.children())
    return is_leaf and all(p is None or p.ndim == 1 for p in module._parameters.values()) and _is_norm(module)


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Within it no parameter requires a gradient and nothing is dropped out."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    training = model.training
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for p, required in before:
            p.requires_grad_(required)
        model.train(training)
