"""Where on the step axis something happens: the peak of context reliance, the ends of epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

_MOST_EPOCHS = 5  # more marks than that hide the curves


@dataclass(frozen=True)
class Mark:
    """A step worth a line, and what happens there."""

    step: float
    label: str


def phase_marks(trace: xr.Dataset) -> tuple[Mark, ...]:
    """The step of highest counterfactual accuracy (the earliest of equals), and the ends of the first epochs.

    Ends of epochs lie where the checkpoints' own ``epoch`` passes a whole number, in proportion between two
    checkpoints. What the trace doesn't tell isn't marked; neither is a peak at the first or the last step.
    """
    return (*_peak(trace), *_epochs(trace))


def peak_place(trace: xr.Dataset) -> int | None:
    """Where among the steps counterfactual accuracy is highest; None at the first or last one, or where unknown."""
    if "counterfactual_accuracy" not in trace or trace["counterfactual_accuracy"].dims != ("step", "item"):
        return None
    values = trace["counterfactual_accuracy"].mean("item").values
    measured = np.flatnonzero(np.isfinite(values))
    if len(measured) < 3 or (place := measured[np.argmax(values[measured])]) in (measured[0], measured[-1]):
        return None
    return int(place)


def _peak(trace: xr.Dataset) -> tuple[Mark, ...]:
    place = peak_place(trace)
    return () if place is None else (Mark(float(trace["step"].values[place]), "peak"),)


def _epochs(trace: xr.Dataset) -> tuple[Mark, ...]:
    if "epoch" not in trace.coords or trace["epoch"].dims != ("step",):
        return ()
    steps, epochs = trace["step"].values.astype(np.float64), trace["epoch"].values.astype(np.float64)
    epochs = np.where(steps == 0, 0.0, epochs)  # nothing has been seen before the first step
    known = np.isfinite(epochs)
    if known.sum() < 2 or np.any(np.diff(epochs[known]) <= 0):
        return ()
    ends = range(int(np.floor(epochs[known][0])) + 1, int(np.floor(epochs[known][-1])) + 1)
    if len(ends) > _MOST_EPOCHS:
        return ()
    return tuple(Mark(float(np.interp(end, epochs[known], steps[known])), f"epoch {end}") for end in ends)
