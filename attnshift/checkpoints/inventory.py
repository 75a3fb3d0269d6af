"""An inventory: which folders of a run became which step, and what to say about the others."""

from __future__ import annotations

from pathlib import Path

from attnshift.checkpoints.base import adapter_base
from attnshift.checkpoints.checkpoint import Checkpoint, classify, is_quantised, kinds, read_checkpoint
from attnshift.checkpoints.fingerprint import Fingerprint
from attnshift.checkpoints.layout import Layout, numbered_step
from attnshift.checkpoints.trainer_state import TrainerState, epochs_by_step, read_trainer_state
from attnshift.errors import AttnshiftError, CheckpointError


class Inventory:
    """What has been found of a run so far; the fields are those of `Run`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.checkpoints: dict[int, Checkpoint] = {}
        self.fingerprints: dict[int, Fingerprint] = {}
        self.aliases: dict[str, int] = {}
        self.broken: dict[int, CheckpointError] = {}
        self.notes: list[str] = list(layout.notes)
        self.unplaced: dict[Path, str] = {}
        folders = (*layout.unnumbered, *layout.numbered.values(), layout.root)
        self._states = {folder: self._stated(folder) for folder in folders}
        self._epochs = epochs_by_step(self._states.values())

    def add_folders(self, base: Path | None) -> None:
        """Take every folder of the run but the base."""
        for step, folder in self.layout.numbered.items():
            self._add(folder, step)
        others = [folder for folder in self.layout.unnumbered if folder.resolve() != base]
        if not self.layout.numbered and self.layout.root in others:
            others.remove(self.layout.root)
            self._add_single(base)
        # Those that state their step come first, so that a copy which doesn't becomes their alias.
        for folder in sorted(others, key=lambda each: self._states[each].step is None):
            self._place(folder)

    def add_base(self, named: Path | None) -> Path | None:
        """Take the base, named or of the adapters, as step 0 unless a numbered folder is; returns its folder.

        Raises AttnshiftError where another step 0 has other weights and where adapters lack their base.
        """
        adapters = [checkpoint for checkpoint in self.checkpoints.values() if checkpoint.kind == "adapter"]
        base, note = adapter_base(self.layout.root, adapters, named) if adapters else (named, "")
        if base is None:
            return None
        self.notes += [note] if note else []
        held = self.checkpoints.get(0)
        if held is None:
            if 0 in self.broken:
                self.notes.append(f"step 0 is the base, as its folder can't be read: {self.broken.pop(0).problem}")
            self._add(base, 0)
            if adapters and 0 in self.broken:
                raise self.broken[0]
        elif held.kind == "adapter":
            self.notes.append(f"step 0 is the adapter {held.name}/, not the bare base")
        elif held.path.resolve() != base and not held.equals(read_checkpoint(base, 0)):
            raise AttnshiftError(
                f"{held.path} and the base {base} are both step 0, with different weights",
                expected="one model at step 0",
                remedy="move the folder out of the run, or name no base",
            )
        return base

    def refuse_twins(self) -> None:
        """Raise AttnshiftError where two steps hold the same weights."""
        for step, checkpoint in sorted(self.checkpoints.items()):
            twin = self._twin(checkpoint, self.fingerprints[step])
            if twin is not None:
                raise AttnshiftError(
                    f"steps {step} and {twin.step} have identical weights: {checkpoint.path} and {twin.path}",
                    expected="different weights at different steps",
                    remedy="look for an adapter that was never applied or a checkpoint copied twice, and move one of "
                    "the folders out of the run",
                )

    def _add(self, folder: Path, step: int) -> None:
        try:
            checkpoint = self._read(folder, step)
            self._take(checkpoint, checkpoint.fingerprint())
        except CheckpointError as error:
            self.broken[step] = error

    def _read(self, folder: Path, step: int) -> Checkpoint:
        checkpoint = read_checkpoint(folder, step, self._epoch(folder, step), self.layout.revisions.get(folder, ""))
        if checkpoint.kind == "full" and is_quantised(folder):
            raise CheckpointError(
                f"{folder} holds weights that are quantised by bitsandbytes",
                expected="weights in floating point: they are what gradients are taken of",
                remedy="save it merged in 16 bits, or its adapter alone",
            )
        return checkpoint

    def _take(self, checkpoint: Checkpoint, mark: Fingerprint) -> None:
        self.checkpoints[checkpoint.step], self.fingerprints[checkpoint.step] = checkpoint, mark
        if len(kinds(checkpoint.path)) > 1:
            name = self.layout.name(checkpoint.path)
            self.notes.append(f"{name} holds merged weights and an adapter: the merged weights are used")

    def _add_single(self, base: Path | None) -> None:
        """Take the run's own folder as its only checkpoint."""
        root = self.layout.root
        stated = self._states[root].step
        name = self.layout.revisions.get(root, root.name)
        step = numbered_step(name) if stated is None else stated
        if step is None:
            step = 1 if base or classify(root) == "adapter" else 0
            told = self.layout.name(root) if root in self.layout.revisions else f"{name}/"
            self.notes.append(f"no trainer_state.json states the step of {told}: it is shown as step {step}")
        self._add(root, step)

    def _place(self, folder: Path) -> None:
        """Take an unnumbered folder as an alias or at the step it states, or leave it out with a note."""
        is_root, name = folder == self.layout.root, self.layout.name(folder)
        stated = self._states[folder].step
        try:
            checkpoint = self._read(folder, stated or 0)
            mark = checkpoint.fingerprint()
            twin = self._twin(checkpoint, mark)
        except CheckpointError as error:
            self.unplaced[folder] = f"{name} is left out: {error.problem}"
            return
        if twin is not None:
            self.aliases["." if is_root else self.layout.revisions.get(folder, folder.name)] = twin.step
            self.notes.append(f"{name} holds the weights of step {twin.step} and is measured once")
        elif stated is not None and stated not in self.checkpoints.keys() | self.broken.keys():
            self._take(checkpoint, mark)
        else:
            why = "states no step" if stated is None else f"states step {stated}, which another folder holds"
            self.unplaced[folder] = f"{name} is left out (unplaced): no checkpoint has its weights, and it {why}"

    def _twin(self, checkpoint: Checkpoint, mark: Fingerprint) -> Checkpoint | None:
        """Another checkpoint with exactly these weights."""
        for step, other in self.checkpoints.items():
            if other is not checkpoint and self.fingerprints[step].digest == mark.digest and other.equals(checkpoint):
                return other
        return None

    def _stated(self, folder: Path) -> TrainerState:
        """What the Trainer states about a folder of weights, which may lie inside the one that it wrote."""
        state = read_trainer_state(folder)
        inside = folder.parent != self.layout.root and folder.parent.is_relative_to(self.layout.root)
        return read_trainer_state(folder.parent) if inside and state == TrainerState() else state

    def _epoch(self, folder: Path, step: int) -> float | None:
        if folder in self.layout.epochs:
            return self.layout.epochs[folder]
        state = self._states.get(folder)
        if state is not None and state.epoch is not None and state.step in (None, step):
            return state.epoch
        return self._epochs.get(step)
