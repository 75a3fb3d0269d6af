"""A run that is still being written, looked at by a clock that stands still until it is told."""

import os
import shutil
from pathlib import Path

import pytest
from made_runs import adapter, full, sharded, trainer_state

from attnshift.checkpoints.growing import Growing
from attnshift.checkpoints.run import find_run
from attnshift.errors import AttnshiftError


class Clock:
    """Seconds since a start; files that are written get its time."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def stamp(self) -> None:
        """Give every file that was written since its time."""
        for path in self.root.rglob("*"):
            if path.stat().st_mtime > 2_000_000:
                os.utime(path, (self.now, self.now))


@pytest.fixture
def clock(tmp_path) -> Clock:
    (tmp_path / "run").mkdir()
    return Clock(tmp_path / "run")


@pytest.fixture
def growing(clock) -> Growing:
    return Growing(clock.root, clock.root / "trace", clock, patience=30)


def trainers(folder: Path, seed: int, step: int, last: int = 100) -> Path:
    """As the Trainer writes it: the weights and its arguments first, its state last."""
    full(folder, seed)
    (folder / "training_args.bin").write_bytes(b"")
    trainer_state(folder, global_step=step, max_steps=last)
    return folder


def complete(growing: Growing) -> list[str]:
    growing._clock.stamp()
    return sorted(folder.name for folder in growing.look().complete)


def test_what_lies_there_is_complete_at_once(growing, clock):
    trainers(clock.root / "checkpoint-10", 1, 10)
    clock.stamp()
    clock.now += 30
    assert complete(growing) == ["checkpoint-10"]


def test_fresh_files_are_waited_for(growing, clock):
    trainers(clock.root / "checkpoint-10", 1, 10)
    assert complete(growing) == []
    clock.now += 29
    assert complete(growing) == []
    clock.now += 1
    assert complete(growing) == ["checkpoint-10"]


def test_a_file_that_grows_or_is_written_again_starts_the_wait_anew(growing, clock):
    folder = trainers(clock.root / "checkpoint-10", 1, 10)
    for content in (b"1", b"22", b"33"):
        complete(growing)
        clock.now += 20
        (folder / "optimizer.pt").write_bytes(content)
        assert complete(growing) == []
    clock.now += 30
    assert complete(growing) == ["checkpoint-10"]


def test_the_trainers_state_comes_last(growing, clock):
    folder = trainers(clock.root / "checkpoint-10", 1, 10)
    (folder / "trainer_state.json").unlink()
    complete(growing)
    clock.now += 1000
    assert complete(growing) == []
    trainer_state(folder, global_step=10)
    complete(growing)
    clock.now += 30
    assert complete(growing) == ["checkpoint-10"]


def test_shards_have_to_be_all_there(growing, clock):
    folder = sharded(clock.root / "step_10", 1)
    shutil.move(folder / "model-00002-of-00002.safetensors", clock.root.parent / "later")
    complete(growing)
    clock.now += 1000
    assert complete(growing) == []
    shutil.move(clock.root.parent / "later", folder / "model-00002-of-00002.safetensors")
    complete(growing)
    clock.now += 30
    assert complete(growing) == ["step_10"]


def test_adapters_in_a_folder_of_their_own(growing, clock):
    adapter(clock.root / "checkpoint-10/policy", 1, "x")
    clock.stamp()
    clock.now += 30
    assert complete(growing) == ["checkpoint-10"]


def test_a_clock_that_files_are_ahead_of(growing, clock):
    folder = trainers(clock.root / "checkpoint-10", 1, 10)
    for file in folder.iterdir():
        os.utime(file, (clock.now + 3600, clock.now + 3600))
    growing.look()
    clock.now += 30
    assert [folder.name for folder in growing.look().complete] == ["checkpoint-10"]


def test_base_trace_and_hidden_folders_are_no_sign_of_life(growing, clock):
    for name in ("base", "trace", ".cache"):
        full(clock.root / name, 1)
    full(clock.root / "checkpoint-1", 2)
    growing.look()
    (clock.root / "trace/step-00000001.nc").write_bytes(b"")
    assert not growing.look().changed
    (clock.root / "checkpoint-1/more").write_bytes(b"")
    assert growing.look().changed
    assert not growing.look().changed


# Whether it is over


def over(growing: Growing) -> str:
    growing._clock.stamp()
    growing.look()
    growing._clock.now += 30
    return growing.look().over


def test_over_at_the_last_step(growing, clock):
    trainers(clock.root / "checkpoint-50", 1, 50)
    assert over(growing) == ""
    trainers(clock.root / "checkpoint-100", 2, 100)
    assert over(growing) == "checkpoint-100/ is at step 100 of 100"


@pytest.mark.parametrize("place", [".", "final"])
def test_over_with_the_final_weights(growing, clock, place):
    trainers(clock.root / "checkpoint-50", 1, 50)
    folder = full(clock.root / place, 1)
    (folder / "training_args.bin").write_bytes(b"")
    assert "final weights" in over(growing)


def test_not_over_while_anything_is_written(growing, clock):
    trainers(clock.root / "checkpoint-100", 2, 100)
    assert over(growing)
    (clock.root / "checkpoint-100/optimizer.pt").write_bytes(b"more")
    assert growing.look().over == ""


def test_what_was_deleted(growing, clock):
    for step in (1, 2):
        full(clock.root / f"checkpoint-{step}", step)
    growing.look()
    shutil.rmtree(clock.root / "checkpoint-1")
    full(clock.root / "epoch_0", 7)
    growing.look()
    assert growing.deleted() == frozenset()  # epoch_0 is shown as step 1
    shutil.rmtree(clock.root / "epoch_0")
    assert growing.deleted() == {1}


# Reading only what is ready


def test_only_ready_folders_are_opened(tmp_path, monkeypatch):
    for step in (1, 2):
        full(tmp_path / f"checkpoint-{step}", step)
    (tmp_path / "checkpoint-2/model.safetensors").write_bytes(b"half")
    run = find_run(tmp_path, ready=lambda folder: folder.name == "checkpoint-1")
    assert [checkpoint.step for checkpoint in run.checkpoints] == [1]
    assert not run.broken


def test_a_folder_that_isnt_there(tmp_path):
    with pytest.raises(AttnshiftError, match="no run in"):
        Growing(tmp_path / "gone", tmp_path)
