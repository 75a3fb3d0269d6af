"""The theory against a run, drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from attnshift.errors import AttnshiftError
from attnshift.figures.plot import plot
from attnshift.stats.forecast import forecast

sys.path.insert(0, str(Path(__file__).parents[1] / "stats"))
from theory_traces import STEPS, theory_trace

AT = STEPS[6]


@pytest.fixture(scope="module")
def figure() -> dict:
    return json.loads(plot(theory_trace(noise=0.2), "forecast", step=AT).to_json())


def test_points_are_measured_and_lines_are_the_fit(figure):
    trace = theory_trace(noise=0.2)
    found = forecast(trace, upto=AT)
    curves = {curve["name"]: curve for curve in figure["data"]}
    np.testing.assert_allclose(curves["margin"]["y"], trace["margin"].values.mean(1))
    assert curves["margin"]["mode"] == "markers"
    for name, quantity in (("margin", "margin"), ("context mass", "context_mass"), ("critical", "loss_critical")):
        fitted, ahead = curves[f"{name}, fitted"], curves[f"{name}, forecast"]
        np.testing.assert_allclose(fitted["y"], found.fit.path[quantity][:7])
        np.testing.assert_allclose(ahead["y"], found.fit.path[quantity][6:])
        assert (fitted["line"]["dash"], ahead["line"]["dash"]) == ("solid", "dash")
        assert ahead["x"] == list(STEPS[6:])
    assert f"step {found.peak_step('margin'):,}" in figure["layout"]["title"]["text"]
    assert {shape["x0"] for shape in figure["layout"]["shapes"] if shape["name"] == "forecast from here"} == {AT}


@pytest.mark.parametrize(("step", "quoted"), [(21, "step 21"), (STEPS[-1], "upto=500"), (STEPS[1], "2 checkpoints")])
def test_a_step_that_can_not_be_forecast_from_is_refused(step, quoted):
    with pytest.raises(AttnshiftError, match=quoted):
        plot(theory_trace(), "forecast", step=step)


def test_what_the_trace_lacks_is_named():
    with pytest.raises(AttnshiftError, match="loss_closed_book") as caught:
        plot(theory_trace().drop_vars("loss_closed_book"), "forecast")
    assert "--measures loss_closed_book" in str(caught.value)
