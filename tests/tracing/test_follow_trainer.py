"""The Trainer itself is followed: it writes, and deletes what `save_total_limit` lets go, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from command_line import Command
from tiny import conflict_rows

from attnshift.checkpoints import growing
from attnshift.tracing import follow
from attnshift.tracing.dataset import open_trace

_PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
from tiny import bpe_tokenizer, data_texts, tiny_model
from transformers import Trainer, TrainerCallback, TrainingArguments

class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        time.sleep(1)

tokenizer = bpe_tokenizer(data_texts())
model = tiny_model("llama", len(tokenizer))
model.save_pretrained(sys.argv[2] + "/base")
tokenizer.save_pretrained(sys.argv[2])
rows = [{"input_ids": torch.arange(3, 15), "labels": torch.arange(3, 15)}] * 8
arguments = TrainingArguments(
    sys.argv[2], max_steps=15, save_steps=3, save_total_limit=2, per_device_train_batch_size=2, learning_rate=1e-3,
    report_to=[], use_cpu=True, disable_tqdm=True,
)
Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Slow()]).train()
"""


@pytest.mark.slow
def test_a_training_that_goes_on(command: Command, tmp_path, monkeypatch):
    monkeypatch.setattr(growing, "Growing", partial(growing.Growing, patience=1.5))
    monkeypatch.setattr(follow, "INTERVAL", 0.3)
    run, items = tmp_path / "run", tmp_path / "cf.json"
    run.mkdir()
    items.write_text(json.dumps(conflict_rows()))
    training = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[1]), str(run)])
    try:
        while not (run / "checkpoint-3").is_dir():
            assert training.poll() is None, "the training ended before it saved anything"
            time.sleep(0.1)
        cheap = ("--measures", "margin", "--max-new-tokens", 2, "--follow-for", 2)
        done = command("trace", "--ckpts", run, "--conflicts", items, *cheap, "--follow", "--json")
    finally:
        assert training.wait() == 0
    assert done.code == 0, done.err
    facts = done.json
    assert "is at step 15 of 15" in facts["over"]
    assert {0, 12, 15} <= set(facts["computed"])
    assert set(facts["computed"]) | set(facts["deleted"]) <= {0, 3, 6, 9, 12, 15}
    assert len(facts["computed"]) > 3, "nothing was measured before the end"
    assert sorted(folder.name for folder in run.glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-15"]
    trace = open_trace(run / "trace")
    assert trace.step.values.tolist() == facts["computed"]
    assert trace.margin.notnull().all()
    again = command("trace", "--ckpts", run, "--conflicts", items, *cheap[:4], "--json").json
    assert again["kept"] == [0, 12, 15]
