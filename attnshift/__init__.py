"""See how finetuning shifts a language model between the context it is given and what it memorised.

Everything is loaded when it is first used: importing attnshift loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from attnshift.errors import AttnshiftError, CheckpointError

if TYPE_CHECKING:
    from attnshift.data.augment import augment
    from attnshift.data.formats import load_examples, load_items
    from attnshift.data.items import Example, Item
    from attnshift.demonstration import demo
    from attnshift.diagnosis.doctor import doctor
    from attnshift.diagnosis.lint import lint
    from attnshift.figures.plot import plot
    from attnshift.interventions.graft import graft
    from attnshift.interventions.patch import patch
    from attnshift.interventions.stored import open_result
    from attnshift.measures.measure import Measure, Observation
    from attnshift.models.attention import attention_mass
    from attnshift.models.ghost import example_gradient_norms
    from attnshift.models.series import Series, open_series
    from attnshift.report.page import write_report
    from attnshift.scoring.labels import label_answer
    from attnshift.stats.compare import compare
    from attnshift.stats.forecast import forecast
    from attnshift.stats.inversion import inversion_test
    from attnshift.stats.verdict import verdict
    from attnshift.tracing.dataset import open_trace, open_traces
    from attnshift.tracing.ingest import ingest
    from attnshift.tracing.rescore import rescore
    from attnshift.tracing.trace import trace
    from attnshift.training.callback import ShiftCallback
    from attnshift.training.finetune import finetune
    from attnshift.training.split import split

_HOMES = {
    "Example": "data.items",
    "Item": "data.items",
    "Measure": "measures.measure",
    "Observation": "measures.measure",
    "Series": "models.series",
    "ShiftCallback": "training.callback",
    "attention_mass": "models.attention",
    "augment": "data.augment",
    "compare": "stats.compare",
    "demo": "demonstration",
    "doctor": "diagnosis.doctor",
    "example_gradient_norms": "models.ghost",
    "finetune": "training.finetune",
    "forecast": "stats.forecast",
    "inversion_test": "stats.inversion",
    "graft": "interventions.graft",
    "ingest": "tracing.ingest",
    "label_answer": "scoring.labels",
    "lint": "diagnosis.lint",
    "load_examples": "data.formats",
    "load_items": "data.formats",
    "open_result": "interventions.stored",
    "open_series": "models.series",
    "open_trace": "tracing.dataset",
    "open_traces": "tracing.dataset",
    "patch": "interventions.patch",
    "plot": "figures.plot",
    "rescore": "tracing.rescore",
    "split": "training.split",
    "trace": "tracing.trace",
    "verdict": "stats.verdict",
    "write_report": "report.page",
}

__all__ = [
    "AttnshiftError",
    "CheckpointError",
    "Example",
    "Item",
    "Measure",
    "Observation",
    "Series",
    "ShiftCallback",
    "attention_mass",
    "augment",
    "compare",
    "demo",
    "doctor",
    "example_gradient_norms",
    "finetune",
    "forecast",
    "graft",
    "ingest",
    "inversion_test",
    "label_answer",
    "lint",
    "load_examples",
    "load_items",
    "open_result",
    "open_series",
    "open_trace",
    "open_traces",
    "patch",
    "plot",
    "rescore",
    "split",
    "trace",
    "verdict",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attnshift' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"attnshift.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
