"""Made-up traces with all that a report reads, and pages of them."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from made_traces import made_trace

from attnshift.data.roles import TOKEN_ROLES

TEMPLATE = "{{ context }} Q: {{ question }} A: {{ answer }}"


def reportable(text: str = "", items: int = 20, filler: str = "", **options) -> xr.Dataset:
    """A trace as `open_trace` gives it; ``text`` goes wherever a user's text can come from."""
    trace = made_trace(items=items, **options)
    steps, people = trace.sizes["step"], [f"Person {i}" for i in range(items)]
    contexts = [f"{who} left Oslo for Lima.{filler} {text}".strip() for who in people]
    codes = [TOKEN_ROLES.index(role) for role in
             ("bos", *["context"] * 4, "parametric_answer", "context", "context_answer", "template", *["question"] * 3,
              "template", "pad")]  # fmt: skip
    digests = [f"{step:032x}" for step in trace.step.values]
    said = np.where(trace.counterfactual_accuracy.values > 0, "Lima", np.where(
        trace.parametric_accuracy.values > 0, "Oslo", f"Rome {text}".strip()))  # fmt: skip
    texts = {
        "item_context": contexts,
        "item_question": [f"Where does {who} live? {text}".strip() for who in people],
        "item_context_answer": ["Lima"] * items,
        "item_parametric_answer": ["Oslo"] * items,
        "item_context_aliases": [json.dumps([text] if text else [])] * items,
        "item_parametric_aliases": ["[]"] * items,
    }
    variables = {name: ("item", np.array(values, object)) for name, values in texts.items()} | {
        "generation": (("step", "item"), said.astype(object)),
        "token_role": (("item", "position"), np.tile(np.array(codes, np.int8), (items, 1))),
        "context_answer_ids": (("item", "answer_position"), np.full((items, 1), 5)),
        "parametric_answer_ids": (("item", "answer_position"), np.full((items, 1), 6)),
        "logprob_parametric_closed_book": (("step", "item"), np.full((steps, items), -0.1)),
    }
    coordinates = {
        "item": [f"i{i}{text}" for i in range(items)],
        "item_stratum": ("item", np.array([f"{'odd' if i % 2 else 'even'}{text}" for i in range(items)], object)),
        "epoch": ("step", trace.step.values / 1000),
        "checkpoint": ("step", np.array([f"/runs/{text}/checkpoint-{s}" for s in trace.step.values], object)),
        "checkpoint_digest": ("step", np.array(digests, object)),
        "dtype": ("step", np.array(["float32"] * steps, object)),
    }
    recipe = {"items": "aa", "template": f"t{text} (bb)", "rows": "last", "max_new_tokens": "8", "dtype": "as stored"}
    about = {"unit": "nats", "measure": f"what it is {text}", "key": "margin/1"}
    trace = trace.assign(variables).assign_coords(coordinates)
    trace["margin"] = trace["margin"].assign_attrs(about)
    return trace.assign_attrs(
        run=f"/runs/{text}",
        template=f"t{text}",
        template_source=TEMPLATE,
        target_eos="True",
        recipe=json.dumps(recipe),
        grouping=f"groups: as the data gives them {text}".strip(),
        grouped_on_step="given",
        dropped="[]",
        notes=json.dumps([f"a note {text}".strip()]),
        failed="{}",
        attnshift_version="0.1.0",
    )
