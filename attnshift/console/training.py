"""Splits, augmentations, overlaps and finetunings, after they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnshift.data.augment import Augmentation
    from attnshift.training.split import Split


def split_facts(out: object, found: Split) -> dict[str, Any]:
    """A split as plain data."""
    return {
        "out": str(out),
        "grouping": found.grouping.describe(),
        "sizes": found.sizes(),
        "alternatives": [asdict(each) for each in found.alternatives()],
        "auc_of_given_groups": found.agreement(),
        "left_out": [asdict(each) for each in found.left_out],
    }


def split_text(facts: Mapping[str, Any]) -> str:
    """A split, and what it would be otherwise, as lines."""
    lines = [facts["grouping"], "with another option alone:"]
    lines += [
        f"  {each['option']:24} {each['non_critical']:>7} non_critical, Jaccard {each['jaccard']:.2f}"
        for each in facts["alternatives"]
    ]
    if facts["auc_of_given_groups"] is not None:
        lines.append(f"the data's own groups (kept as given_group): AUC {facts['auc_of_given_groups']:.3f}")
    lines += _left_out_lines(facts["left_out"], "examples that can't be read (their rows stay as they are)")
    return "\n".join([*lines, f"written: {facts['out']}"])


def augmentation_facts(out: object, made: Augmentation) -> dict[str, Any]:
    """An augmentation as plain data."""
    return {
        "out": str(out),
        "made": len(made.counterfactuals),
        "wanted": made.wanted,
        "training": made.training,
        "ratio": made.ratio,
        "kinds": dict(Counter(each.kind for each in made.counterfactuals).most_common()),
        "refused": made.reasons,
    }


def augmentation_text(facts: Mapping[str, Any]) -> str:
    """What was made and what was refused, as lines."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
    lines = [
        f"{facts['made']} counterfactual examples of {facts['wanted']} that were wanted, beside {facts['training']}: "
        f"{facts['ratio']:.1%} of the training set" + (f" ({kinds})" if kinds else "")
    ]
    if facts["refused"]:
        lines.append(f"{sum(facts['refused'].values())} examples were refused:")
        lines += [f"  {count:>7}  {reason}" for reason, count in facts["refused"].items()]
    return "\n".join([*lines, f"written: {facts['out']}"])


def overlap_text(facts: Mapping[str, Any]) -> str:
    """What was dropped, as lines."""
    lines = [f"{facts['kept']} examples kept, {facts['dropped']} dropped"]
    lines += [f"  {row['id']}: {row['reason']}" for row in facts["first"]]
    return "\n".join([*lines, f"written: {facts['out']}", f"dropped, with reasons: {facts['list']}"])


def _left_out_lines(left_out: list[dict[str, str]], what: str) -> list[str]:
    if not left_out:
        return []
    shown = [f"  {row['id']}: {row['reason']}" for row in left_out[:5]]
    return [f"{len(left_out)} {what}:", *shown]


def run_text(facts: Mapping[str, Any]) -> str:
    """What a finetuning left, as lines."""
    return f"run: {facts['run']}\nattnshift trace --ckpts {facts['run']}"
