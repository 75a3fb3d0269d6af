"""A model that somebody is training, measured in memory between two of its steps and left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnshift.checkpoints.checkpoint import adapter_function
from attnshift.checkpoints.fingerprint import fingerprint
from attnshift.checkpoints.optimizer import SecondMoments, held_second_moments
from attnshift.checkpoints.tensors import held_tensors
from attnshift.errors import AttnshiftError
from attnshift.models.attention import captured_attention
from attnshift.models.randomness import kept_randomness
from attnshift.models.subject import (
    adapted_names,
    base_parameters,
    matching,
    no_moments_of_adapters,
    of_base,
    plain_name,
    refuse_prompt_adapter,
    refuse_untrained,
)
from attnshift.models.whole import refuse_parts

_PROBE = 8
"""tokens that an adapter is tried on to see whether it does anything yet"""


@dataclass
class LiveModel:
    """A `Subject`: somebody's causal LM, or PeftModel around one, as it is in memory.

    It is measured in the precision that its weights have there, whatever autocast its training uses.
    """

    model: Any
    """the HF causal LM, adapter layers in place"""
    peft: Any
    """the PeftModel around it, or None"""
    trained: tuple[str, ...]
    """plain names of the parameters whose gradients are measured"""
    optimizer: Any = None
    """what trains it; asked for its second moments alone"""

    @classmethod
    def around(cls, model: Any, patterns: Sequence[str] = ()) -> LiveModel:
        """Take hold of a model; nothing of it changes.

        The trained parameters are those that ``patterns`` fit, else those that require a gradient now; for adapters,
        the weight matrices that they adapt.

        Raises AttnshiftError for a model that this process doesn't hold whole, and one that isn't a transformers causal
        LM or a PeftModel with one weight adapter around it.
        """
        model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
        refuse_parts(model)
        peft, inner = _unwrapped(model)
        named = base_parameters(inner, adapter_on=True)
        if patterns:
            chosen = matching(named, patterns)
        elif peft is not None:
            chosen = adapted_names(inner)
        else:
            chosen = {name for name, p in named.items() if p.requires_grad}
        live = cls(inner, peft, tuple(name for name in named if name in chosen))
        refuse_untrained(live.trained, ", ".join(patterns) or "none requires a gradient")
        return live

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return self.model.device

    @property
    def trained_weights(self) -> dict[str, nn.Parameter]:
        """The trained parameters by their name in the plain model, whether or not a gradient can be taken."""
        named = base_parameters(self.model, adapter_on=True)
        return {name: named[name] for name in self.trained}

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters whose gradients are measured, by their name in the plain model.

        Raises AttnshiftError where a gradient can't be taken, or would set something off that isn't ours.
        """
        for name, p in self.trained_weights.items():
            hooked = p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None)
            if hooked or not p.is_floating_point():
                raise AttnshiftError(
                    f"gradients of {name} can't be measured: "
                    + ("its training has a hook on them" if hooked else f"it is quantised ({p.dtype})"),
                    expected="weights in floating point, and an optimizer that steps after the backward",
                    remedy="measures without gradients: measures=['attention_mass', 'margin', 'generation']",
                )
        return self.trained_weights

    def second_moments(self) -> SecondMoments | None:
        """Adam's second moments of the trained parameters; None before the first step, or without an optimizer."""
        if self.optimizer is None:
            return None
        if self.peft is not None:
            raise no_moments_of_adapters("the optimizer's state")
        return held_second_moments(self.optimizer, self.trained_parameters())

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within it the model may be measured: it is in eval mode and uses the capturing attention.

        Afterwards train modes, ``.grad`` (the same tensors), ``requires_grad``, attention and all random states are as
        they were before, also where measuring raises.
        """
        outer = self.model if self.peft is None else self.peft
        with kept_randomness(), _kept_state(outer), _own_forward(self.model), captured_attention(self.model):
            outer.eval()
            with torch.autocast(self.device.type, enabled=False), torch.enable_grad():
                yield

    def digest(self) -> str:
        """What identifies the weights: the fingerprint of the checkpoint that ``save_pretrained`` would write now."""
        if self.peft is None:
            return fingerprint(held_tensors(_as_saved(self.model, self.model.state_dict()))).digest
        from peft import get_peft_model_state_dict

        name = self.peft.active_adapter
        state = get_peft_model_state_dict(self.peft, adapter_name=name)
        config = json.loads(json.dumps(self.peft.peft_config[name].to_dict(), default=list))
        return fingerprint(held_tensors(state), adapter_function(config)).digest

    def base_digest(self) -> str:
        """The fingerprint of the base model's checkpoint where the adapter doesn't do anything yet, else `digest`.

        To be called within `undisturbed`.
        """
        if self.peft is None or not self._is_idle():
            return self.digest()
        state = {plain_name(n): t for n, t in self.model.state_dict().items() if of_base(n, adapter_on=False)}
        return fingerprint(held_tensors(_as_saved(self.model, state))).digest

    def _is_idle(self) -> bool:
        """Whether the model computes what its base computes, to the last bit."""
        ids = torch.arange(min(_PROBE, self.model.config.get_text_config().vocab_size), device=self.device)[None]
        with torch.no_grad():
            adapted = self.model(input_ids=ids, use_cache=False).logits
            with self.peft.disable_adapter():
                return torch.equal(adapted, self.model(input_ids=ids, use_cache=False).logits)


def _unwrapped(model: Any) -> tuple[Any, Any]:
    """The PeftModel, if there is one, and the causal LM."""
    from peft import PeftModel
    from transformers import PreTrainedModel

    peft = model if isinstance(model, PeftModel) else None
    inner = model if peft is None else peft.get_base_model()
    if not isinstance(inner, PreTrainedModel) or inner.get_output_embeddings() is None:
        raise AttnshiftError(
            f"{type(inner).__name__} isn't a causal language model of transformers",
            expected="a model as AutoModelForCausalLM makes it, or a PeftModel around one",
        )
    if peft is None and getattr(inner, "_hf_peft_config_loaded", False):
        raise AttnshiftError(
            f"the adapter of {type(inner).__name__} was added by transformers itself",
            expected="a PeftModel around the model",
            remedy="peft.get_peft_model(model, config) instead of model.add_adapter(config)",
        )
    if peft is not None:
        refuse_prompt_adapter(peft, type(inner).__name__)
        if len(peft.active_adapters) != 1:
            raise AttnshiftError(
                f"the adapters {', '.join(peft.active_adapters)} are active at once", expected="one active adapter"
            )
    return peft, inner


def _as_saved(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as ``save_pretrained`` would write it: tied weights once, under the names of the hub's files."""
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    ignored = model._keys_to_ignore_on_save or ()
    kept = {name: tensor for name, tensor in state.items() if name not in ignored}
    return revert_weight_conversion(model, remove_tied_weights_from_state_dict(kept, model))


@contextmanager
def _kept_state(model: nn.Module) -> Iterator[None]:
    """Within it no parameter has a gradient; afterwards parameters and modules are as before.

    Of modules, that is every flag and number (train mode among them) and which tensors are their buffers.
    """
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    modules = [(m, _flags(m), dict(m._buffers)) for m in model.modules()]
    try:
        for p, _, _ in parameters:
            p.grad = None
        yield
    finally:
        for p, required, gradient in parameters:
            p.grad = gradient
            if p.requires_grad != required:
                p.requires_grad_(required)
        for module, flags, buffers in modules:
            vars(module).update(flags)
            module._buffers.update(buffers)


def _flags(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, bool | int | float | str | None)}


@contextmanager
def _own_forward(model: Any) -> Iterator[None]:
    """Within it the model's forward is without the autocast that accelerate lays around it."""
    own = vars(model)
    patched, plain = own.get("forward"), own.get("_original_forward")
    if patched is None or plain is None:
        yield
        return
    own["forward"] = plain
    try:
        yield
    finally:
        own["forward"] = patched
