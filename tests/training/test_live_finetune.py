"""Our own finetuning, measured while it trains: nothing has to be said twice."""

from __future__ import annotations

import numpy as np
import pytest
from made import base_of, data_of
from transformers import TrainerCallback

import attnshift
from attnshift.training.finetune import finetune

MEASURES = ["margin", "loss", "gradient_norm", "attention_mass"]


class Recorder(TrainerCallback):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_log(self, args, state, control, logs=None, **_):
        if "shift/margin" in logs:
            self.steps.append(state.global_step)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"arm": "full"}, {"arm": "qk"}, {"arm": "critical", "lora": 2}], ids=str)
def test_a_finetuning_and_its_live_trace_need_no_options(options, tmp_path):
    base, files = base_of(tmp_path / "base"), data_of(tmp_path)
    examples, items = attnshift.load_examples(files[0]), attnshift.load_items(files[1])
    settings = {"steps": 4, "batch_size": 8, "learning_rate": 1e-2, "saves": 3, "template": "alpaca", "device": "cpu"}
    plain = finetune(base, examples, tmp_path / "plain", items=items, **settings, **options)
    shift, recorder = attnshift.ShiftCallback(measures=MEASURES, steps=[1, 2]), Recorder()
    run = finetune(base, examples, tmp_path / "run", items=items, callbacks=[recorder, shift], **settings, **options)
    series = attnshift.open_series(run)
    assert series.run.digests == attnshift.open_series(plain).run.digests
    assert recorder.steps == list(series.steps) == [0, 1, 2, 4]
    live = shift.trace()
    before = {file: file.stat().st_mtime_ns for file in (run / "trace").glob("step-*.nc")}
    attnshift.trace(series, measures=MEASURES)
    assert {file: file.stat().st_mtime_ns for file in (run / "trace").glob("step-*.nc")} == before
    later = attnshift.trace(series, measures=MEASURES, out=tmp_path / "later")
    for name in MEASURES:
        np.testing.assert_allclose(live[name], later[name], rtol=1e-5, atol=1e-5, err_msg=name)
