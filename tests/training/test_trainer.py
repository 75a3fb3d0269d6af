"""The trainer: its loss, its saves, going on where it stopped."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from tiny import tiny_model
from torch.nn.functional import log_softmax
from transformers import TrainerCallback

from attnshift.checkpoints.run import find_run
from attnshift.models.forward import Target
from attnshift.training.batches import Batches
from attnshift.training.loss import IGNORED, answer_loss, padded
from attnshift.training.schedule import Schedule, log_spaced
from attnshift.training.trainer import Rows, Settings, last_complete, train

SCHEDULE = Schedule(steps=6, learning_rate=1e-2, warmup=2, batch=4)


def targets(count=20, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 12, count)
    return [Target(rng.integers(3, 90, n).astype(np.int32), int(rng.integers(1, n))) for n in lengths]


def model_of(family="llama", dropout=0.0):
    model = tiny_model(family, 90)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return model


def learn(model, rows, path=None, micro=1, seed=1, callbacks=(), **options):
    settings = {"schedule": SCHEDULE, "seed": seed, "saved_steps": (2, 4, 6) if path else ()} | options
    batches = Batches([len(t) for t in rows.targets], 30, np.random.default_rng(seed), micro)
    train(model, rows, batches, Settings(**settings), path, callbacks=callbacks)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a, b, tolerance):
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=tolerance, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("family", ["llama", "neox", "gemma2"])
def test_the_loss_is_plain_cross_entropy_on_the_tail(family):
    model, rows = model_of(family), targets(6)
    ids, labels = map(torch.from_numpy, padded(rows))
    scored = []
    for i, target in enumerate(rows):
        alone = log_softmax(model(torch.from_numpy(target.ids[None].astype(np.int64))).logits[0], -1)
        scored += [-alone[j - 1, target.ids[j]] for j in range(target.start, len(target))]
        assert (labels[i] != IGNORED).sum() == len(target) - target.start
    torch.testing.assert_close(answer_loss(model, ids, labels), torch.stack(scored).mean(), rtol=0, atol=2e-5)
    counts = [len(t) - t.start for t in rows]
    weights = torch.arange(6) / 2.5
    weighted = (torch.stack(scored) * weights.repeat_interleave(torch.tensor(counts))).sum()
    torch.testing.assert_close(answer_loss(model, ids, labels, weights, 7), weighted / 7, rtol=0, atol=2e-4)


def test_training_is_adamw_on_these_batches():
    """Against a loop written out."""
    rows, ours, plain = Rows(targets()), model_of(), model_of()
    learned = learn(ours, rows)
    batches = Batches([len(t) for t in rows.targets], 30, np.random.default_rng(1))
    order = [batch for epoch in range(3) for batch in batches.of_epoch(epoch)]
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.0, weight_decay=0.0)
    plain.train()
    for step in range(1, 7):
        optimizer.param_groups[0]["lr"] = SCHEDULE.rate(step)
        optimizer.zero_grad()
        ids, labels = map(torch.from_numpy, padded(rows.targets[i] for i in order[step - 1]))
        plain(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    close(learned, plain.state_dict(), 1e-4)
    assert not ours.training


def test_a_batch_in_pieces_is_the_same_batch():
    whole = learn(model_of(), Rows(targets()))
    close(whole, learn(model_of(), Rows(targets()), micro=2), 1e-4)


def test_weights_count_from_the_step_at_which_they_are_set():
    class Doubt(TrainerCallback):
        def on_step_end(self, args, state, control, train_dataloader, processing_class, **_):
            assert processing_class is None
            seen.append(state.global_step)
            train_dataloader.dataset.weights = np.zeros(20) if state.global_step == 3 else np.ones(20)

    seen = []
    at_once = learn(model_of(), Rows(targets(), weights=np.ones(20)))
    close(at_once, learn(model_of(), Rows(targets())), 1e-5)
    doubted = learn(model_of(), Rows(targets()), callbacks=[Doubt()])
    assert seen == [1, 2, 3, 4, 5, 6]
    assert not equal(doubted, at_once)
    none = learn(model_of(), Rows(targets(), weights=np.zeros(20)))
    assert equal(none, model_of().state_dict())  # no loss, no step


def test_saves_are_a_run_and_the_log_says_what_happened(tmp_path):
    learn(model_of(), Rows(targets()), tmp_path / "run", log_every=1)
    run = find_run(tmp_path / "run")
    assert [c.step for c in run.checkpoints] == [2, 4, 6]
    assert [c.epoch for c in run.checkpoints] == pytest.approx([2 / 5, 4 / 5, 6 / 5])
    log = json.loads((run.checkpoints[-1].path / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert [entry["learning_rate"] for entry in log] == pytest.approx([SCHEDULE.rate(s) for s in range(1, 7)])
    assert not list(tmp_path.rglob("training_args.bin"))


@pytest.mark.parametrize("micro", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_training_goes_on_bit_by_bit(micro, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 5:
                raise KeyboardInterrupt

    whole = learn(model_of("gpt2", 0.2), Rows(targets()), micro=micro)
    assert not equal(whole, learn(model_of("gpt2", 0.2), Rows(targets()), micro=micro, seed=2))
    with pytest.raises(KeyboardInterrupt):
        learn(model_of("gpt2", 0.2), Rows(targets()), tmp_path, micro=micro, callbacks=[Stop()])
    assert last_complete(tmp_path).name == "checkpoint-4"
    (tmp_path / "checkpoint-6").mkdir()  # killed while it was saved
    assert last_complete(tmp_path).name == "checkpoint-4"
    assert equal(whole, learn(model_of("gpt2", 0.2), Rows(targets()), tmp_path, micro=micro))


def test_global_random_numbers_are_left_as_they_were():
    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    def seed_all():
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)

    model = model_of("gpt2", 0.2)
    seed_all()
    expected = drawn()
    seed_all()
    learn(model, Rows(targets()))
    assert drawn() == expected


def test_only_the_trained_parameters_move_and_decay_spares_the_named():
    model = model_of()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight"}
    batches = Batches([len(t) for t in targets()], 30, np.random.default_rng(1))
    train(model, Rows(targets()), batches, Settings(SCHEDULE), trained=names)
    assert {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])} == names
    assert all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_steps_are_kept_evenly_in_log_step():
    assert log_spaced(16, 800, 13) == (16, 22, 31, 43, 59, 82, 113, 157, 217, 301, 417, 577, 800)
    assert log_spaced(16, 10, 5) == log_spaced(1, 10, 1) == (10,)
    assert log_spaced(1, 4, 3) == (1, 2, 4)
    assert log_spaced(1, 4, 9) == (1, 2, 3, 4)
    assert Schedule(steps=4, learning_rate=1.0, warmup=0).rate(1) == pytest.approx(1.0)
