"""What has to hold for a trace's numbers to mean what they seem to mean, checked as far as the trace can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr

from attnshift.report.attributes import attribute
from attnshift.report.items import label_codes
from attnshift.stats.inversion import inversion_test, p_text
from attnshift.stats.items import item_series
from attnshift.stats.readings import margin_label_agreement
from attnshift.stats.verdict import CLEAR_FALL

State = Literal["failed", "look", "unknown", "pass"]

STATES: Final[dict[State, str]] = {
    "failed": "failed",
    "look": "look here",
    "unknown": "not known",
    "pass": "pass",
}
"""What a check can come to, the most urgent first, and how that is called."""

AGREES: Final = 90.0
"""percent of the answers, at every step, whose margin has their sign, from which margin and text are said to agree"""

SURE: Final = 0.05
"""probability of such a fall in a series that never falls, below which the fall counts as more than noise"""

KNOWN: Final = 80.0
"""percent of the items that the first checkpoint has to know, and of these that the last one still has to"""


@dataclass(frozen=True)
class Check:
    """One check: what it is about, what it came to, and why, in a line."""

    about: str
    state: State
    line: str


def checks_of(trace: xr.Dataset) -> list[Check]:
    """All checks, the most urgent first."""
    checks = [*_OF_ANY, *(_OF_ITEMS if "item" in trace.sizes else ())]
    found = [check for make in checks if (check := make(trace)) is not None]
    return sorted(found, key=lambda check: list(STATES).index(check.state))


def _failures(trace: xr.Dataset) -> Check:
    failed = {str(step): str(error) for step, error in attribute(trace, "failed", {}).items()}
    if failed:
        told = "; ".join(f"step {step}: {error.splitlines()[0]}" for step, error in failed.items())
        return Check("Checkpoints", "failed", f"{len(failed)} failed and are missing from every curve. {told}")
    return Check("Checkpoints", "pass", f"all {trace.sizes['step']} were measured, none failed")


def _weights(trace: xr.Dataset) -> Check:
    if "ingested_from" in trace.attrs:
        return Check("Weights", "unknown", "these are results that were made elsewhere")
    if "checkpoint_digest" not in trace.coords:
        return Check("Weights", "unknown", "the trace keeps no digests")
    digests = [str(digest) for digest in np.atleast_1d(trace["checkpoint_digest"].values)]
    twins = [digest for digest, count in Counter(digests).items() if count > 1]
    if twins:
        steps = [int(s) for s, digest in zip(trace["step"].values, digests, strict=True) if digest in twins]
        return Check("Weights", "look", f"steps {', '.join(map(str, steps))} share their weights")
    return Check(
        "Weights", "pass", f"{len(digests)} steps, {len(digests)} different digests: no checkpoint counts twice"
    )


def _base(trace: xr.Dataset) -> Check:
    first = int(trace["step"].values[0])
    if first == 0:
        return Check("Start", "pass", "step 0, the base model, is measured")
    return Check(
        "Start", "look", f"no base model: the series begins at step {first:,}, and what came before isn't seen"
    )


def _precision(trace: xr.Dataset) -> Check | None:
    if "dtype" not in trace.coords:
        return None
    kinds = sorted({str(kind) for kind in np.atleast_1d(trace["dtype"].values)})
    if kinds == [""]:
        return None
    if len(kinds) > 1:
        return Check("Precision", "look", f"checkpoints were measured in {' and '.join(kinds)}")
    return Check("Precision", "pass", f"all checkpoints in {kinds[0]}")


def _gaps(trace: xr.Dataset) -> Check:
    """Whether every variable per step has been measured at every step; item-level attention isn't read."""
    holes = []
    for name, variable in trace.data_vars.items():
        if "step" in variable.dims and "layer" not in variable.dims and variable.dtype.kind == "f":
            known = np.isfinite(variable.values).any(axis=tuple(i for i, d in enumerate(variable.dims) if d != "step"))
            if not known.all() and name != "attention_push_preconditioned":
                holes.append(f"{name} ({(~known).sum()} of {len(known)} steps)")
    if holes:
        return Check("Completeness", "look", f"not measured everywhere: {', '.join(holes)}")
    return Check("Completeness", "pass", "every number is there at every step")


def _template(trace: xr.Dataset) -> Check:
    name, stated = trace.attrs.get("template"), attribute(trace, "recipe", {}).get("template")
    if name is None and stated is None:
        return Check("Template", "unknown", "the trace doesn't name its template")
    told = f"{stated or name}, the same for every checkpoint"
    if name == "plain":
        return Check("Template", "look", f"{told}: what attnshift falls back on. Is it what training used?")
    return Check("Template", "pass", told)


def _target_eos(trace: xr.Dataset) -> Check | None:
    if "loss" not in trace:
        return None
    stated = str(trace.attrs.get("target_eos", ""))
    if stated not in ("True", "False"):
        return Check("End of target", "unknown", "the trace doesn't say whether targets end with EOS")
    told = "losses are taken with EOS" if stated == "True" else "losses are taken without EOS"
    return Check("End of target", "unknown", f"{told}; whether training did the same isn't in the trace")


def _dropped(trace: xr.Dataset) -> Check:
    dropped = attribute(trace, "dropped", None)
    if dropped is None:
        return Check("Left out", "unknown", "the trace doesn't say")
    if not dropped:
        return Check("Left out", "pass", "none: every prompt could be read with certainty")
    reasons = Counter(str(each["reason"]).splitlines()[0] for each in dropped)
    told = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
    more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
    return Check("Left out", "look", f"{len(dropped)}: {told}{more}")


def _groups(trace: xr.Dataset) -> Check | None:
    if "group_of_example" not in trace.coords:
        return None
    told, step = str(trace.attrs.get("grouping", "")), trace.attrs.get("grouped_on_step")
    if not told or step is None:
        return Check("Groups", "unknown", "the trace doesn't say how examples were grouped")
    if str(step) == "given":
        return Check("Groups", "pass", told)
    state: State = "pass" if int(step) == 0 else "look"
    return Check("Groups", state, told + ("" if int(step) == 0 else ": it has been finetuned already"))


def _first_tokens(trace: xr.Dataset) -> Check:
    names = ("context_answer_ids", "parametric_answer_ids")
    if not set(names) <= set(trace.data_vars):
        return Check("First tokens", "unknown", "the trace keeps no answer tokens")
    context, memory = (trace[name].transpose("item", "answer_position").values for name in names)
    shared = int((context[:, 0] == memory[:, 0]).sum())
    nested = int(((context == memory) | (context < 0) | (memory < 0)).all(-1).sum())
    if not shared:
        return Check("First tokens", "pass", "the two answers of every item differ in their first token")
    told = f"{shared} of {len(context)} items have answers that begin with the same token; margin_first_token looks "
    told += "at the first one that differs" + (f", and {nested} have none, so no such margin" if nested else "")
    return Check("First tokens", "look", told)


def _known(trace: xr.Dataset) -> Check:
    """Whether the memorised answers were known at the start, and, where the trace tells, still are at the end."""
    step = int(trace["step"].values[0])
    if "known_item" in trace:
        known = trace["known_item"].values == 1
        shares = [100 * known.mean()]
        told = str(trace.attrs.get("known", f"{known.sum()} of {len(known)} items were known closed book"))
        if "still_known" in trace and known.any():
            still = trace["still_known"].transpose("step", "item").values[:, known].mean(-1)
            measured = np.flatnonzero(np.isfinite(still))
            shares += [100 * still[measured[-1]]] if len(measured) else []
            told += f"; {shares[-1]:.0f} % of these still at the last step" * (len(shares) > 1)
    elif "logprob_parametric_closed_book" in trace:
        first = trace["logprob_parametric_closed_book"].isel(step=0).values
        if not np.isfinite(first).any():
            return Check("Known facts", "unknown", f"step {step:,} has no closed-book log-probability")
        shares = [100 * (first[np.isfinite(first)] > np.log(0.5)).mean()]
        told = f"without the context, step {step:,} gives the memorised answer more than half of its probability for "
        told += f"{shares[0]:.0f} % of the items"
    else:
        return Check("Known facts", "unknown", "nothing in the trace tells what the model knew at the start")
    if min(shares) >= KNOWN:
        return Check("Known facts", "pass", told)
    return Check("Known facts", "look", f"{told}: what isn't known can't win against the context")


def _fall(trace: xr.Dataset) -> Check | None:
    """Whether the fall that the verdict tells is more than checkpoints' noise."""
    if "counterfactual_accuracy" not in trace:
        return None
    series = item_series(trace)
    test, means = inversion_test(series), series.means[np.isfinite(series.means)]
    if test.reason is not None:
        return Check("Fall and noise", "unknown", test.reason)
    line = (
        f"smoothed, the curve falls by {test.fall:.0f} points from its peak; checkpoints stray by {test.noise.sd:.1f} "
    )
    line += f"points (sd): {p_text(test.p_value)} in a series that never falls, {p_text(test.p_correlated)} if noise "
    line += f"persists from one checkpoint to the next{', as it seems to' * test.suspicious}"
    told = means.max() - means[-1] >= CLEAR_FALL
    return Check("Fall and noise", "look" if told and test.p_correlated >= SURE else "pass", line)


def _agreement(trace: xr.Dataset) -> Check:
    if "margin" not in trace:
        return Check("Margin and text", "unknown", "the trace has no margins")
    labels, _ = label_codes(trace)
    named = np.select([labels == "c", labels == "p"], ["context", "parametric"], "").astype(object)
    shares = 100 * margin_label_agreement(trace.assign(answer_label=(("step", "item"), named)))
    if not np.isfinite(shares).any():
        return Check("Margin and text", "unknown", "no generated answer is one of the two")
    worst = int(np.nanargmin(shares))
    line = f"of the answers that are one of the two, {np.nanmean(shares):.0f} % are the one with the larger "
    line += (
        f"log-probability (mean over steps; lowest {shares[worst]:.0f} %, at step {int(trace['step'].values[worst]):,})"
    )
    return Check("Margin and text", "pass" if shares[worst] >= AGREES else "look", line)


def _spelling(trace: xr.Dataset) -> Check | None:
    """Whether the space before the answers is the one that the model writes."""
    if "answer_spelling" not in trace.attrs:
        return None
    told = f"answers are scored {trace.attrs['answer_spelling']}"
    return Check("Space before answers", "look" if "doubt" in told else "pass", told)


def _answered(trace: xr.Dataset) -> Check:
    """How many answers at the last step are one of the two."""
    labels, _ = label_codes(trace)
    measured = [row for row in labels if (row != "-").any()]
    if not measured:
        return Check("Answers", "unknown", "the trace has no answers")
    last = measured[-1][measured[-1] != "-"]
    neither = 100 * float((last == "n").mean())
    both = 100 * float((last == "b").mean())
    line = f"at the last step {neither:.0f} % of the answers are neither of the two and {both:.0f} % hold both"
    return Check("Answers", "pass" if neither + both < 20 else "look", line)


_Make = Callable[[xr.Dataset], Check | None]

_OF_ANY: Final[tuple[_Make, ...]] = (
    _failures,
    _weights,
    _base,
    _precision,
    _gaps,
    _template,
    _target_eos,
    _dropped,
    _groups,
)
_OF_ITEMS: Final[tuple[_Make, ...]] = (_fall, _first_tokens, _spelling, _known, _agreement, _answered)
