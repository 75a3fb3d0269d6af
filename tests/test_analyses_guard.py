"""The comparison of guards runs from nothing, on a tiny organism."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_organism import TINY

from analyses import arms, guard


@pytest.mark.slow
def test_guards_are_compared_with_arms_on_other_subjects(tmp_path, monkeypatch):
    def organism(out, seed):
        world = real(out, seed)
        return replace(world, options={**world.options, "steps": 20, "batch_size": 16, "warmup": 2, "saves": 2})

    real = arms.organism
    monkeypatch.setattr(arms, "RECIPES", {"full": TINY})
    monkeypatch.setattr(guard, "organism", organism)
    monkeypatch.setattr(guard, "PROBE_SUBJECTS", 3)
    found = {arm: [] for arm in ("full", "guard-fall", "guard-push", "constant")}
    for seed in (0, 1):
        for arm, trace in guard.finetuned(tmp_path, seed, list(found)).items():
            found[arm].append(guard.outcome(trace))
            assert trace.sizes["example"] == 300
            assert trace.sizes["step"] == 3
    probe, compared = guard.split_items(guard.attnshift.load_items(tmp_path / "seed-0" / "run" / "conflicts.jsonl"))
    assert {item.cluster for item in probe}.isdisjoint(item.cluster for item in compared)
    assert len(probe) + len(compared) == 400
    lines = guard.table(found)
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {arm}" for arm in found]
    assert all(line.count("|") == 10 for line in lines)
