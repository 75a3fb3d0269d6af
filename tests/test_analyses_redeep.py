"""What `analyses.redeep` computes by itself."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import redeep


def test_auc_is_the_share_of_pairs_in_order():
    wins = np.array([True, True, False, False, False])
    assert redeep.auc(np.array([5.0, 4.0, 3.0, 2.0, 1.0]), wins) == 1
    assert redeep.auc(np.array([1.0, 4.0, 3.0, 2.0, 0.0]), wins) == pytest.approx(4 / 6)
    assert redeep.auc(np.ones(5), wins) == 0.5
    assert np.isnan(redeep.auc(np.ones(5), np.ones(5, bool)))


@pytest.mark.slow
def test_the_fall_is_taken_apart_on_a_run_of_the_organism(tmp_path):
    from tiny_organism import TINY

    from attnshift.organism.build import build_run

    build_run(tmp_path / "seed-0" / "run", TINY, 0)
    seed = redeep.Seed(0, tmp_path, tmp_path / "results")
    whole, states, attended = seed.exchanged()
    score = seed.trace["external_context_score"].mean(("item", "layer", "head")).values
    assert whole == pytest.approx(score[-1] - score[seed.ends["peak"]], abs=1e-5)
    assert states != attended
