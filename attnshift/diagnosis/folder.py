"""A run's folder: its checkpoints, base and manifest. Weights are sampled, as for `inspect`, never loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.manifest import FILE_NAME
from attnshift.checkpoints.run import Run
from attnshift.diagnosis.check import Check, failed, some
from attnshift.diagnosis.environment import gigabytes
from attnshift.errors import AttnshiftError
from attnshift.tracing.host import free_host_bytes

_SHAPE = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")


def folder_checks(run: Run, problems: Mapping[str, AttnshiftError]) -> list[Check]:
    """Every check of a run that `find_run` found; ``problems`` are those that it collected."""
    return [
        _checkpoints(run),
        _weights(run, problems.get("weights")),
        _base(run, problems.get("base")),
        _aliases(run),
        _notes(run),
        _configuration(run),
        _size(run),
        _manifest(run, problems.get("manifest")),
        _output(run),
    ]


def _checkpoints(run: Run) -> Check:
    if run.broken:
        told = "; ".join(f"step {step}: {error.problem}" for step, error in run.broken.items())
        first = next(iter(run.broken.values()))
        total = len(run.broken) + len(run.checkpoints)
        return Check("checkpoints", "fail", f"{len(run.broken)} of {total} can't be read: {told}", first.remedy)
    steps, kinds = [c.step for c in run.checkpoints], sorted({c.kind for c in run.checkpoints})
    seen = f"{len(steps)} can be read, {' and '.join(kinds)}: steps {', '.join(map(str, steps))}"
    if len(steps) == 1:
        return Check("checkpoints", "warn", seen, "a series takes at least two: name the folder that holds them all")
    return Check("checkpoints", "ok", seen)


def _weights(run: Run, problem: AttnshiftError | None) -> Check:
    if problem is not None:
        return failed("weights", problem)
    return Check("weights", "ok", f"{len(run.checkpoints)} steps, {len(set(run.digests.values()))} different digests")


def _base(run: Run, problem: AttnshiftError | None) -> Check:
    if problem is not None:
        return failed("base", problem)
    first = run.checkpoints[0]
    if run.base is not None:
        return Check("base", "ok", f"step 0 is {first.path}" if first.step == 0 else f"{run.base}")
    if first.step == 0:
        return Check("base", "ok", f"step 0 is {first.path}")
    seen = f"none: the series begins at step {first.step}, and what was known before isn't seen"
    return Check("base", "warn", seen, "name the model that was finetuned with --base")


def _aliases(run: Run) -> Check:
    told = [f"{name}/ is step {step}" for name, step in run.aliases.items()]
    return Check("aliases", "ok", f"{some(told)}: measured once" if told else "none")


def _notes(run: Run) -> Check:
    """Whatever else was found beside the checkpoints."""
    told = [note for note in run.notes if not note.startswith("no base") and "is measured once" not in note]
    if told:
        return Check("folders", "warn", "; ".join(told), "attnshift inspect shows every folder")
    return Check("folders", "ok", "every folder with weights is a checkpoint, an alias or the base")


def _configuration(run: Run) -> Check:
    """Whether all checkpoints are one model, of code that transformers has."""
    full = {c.path: c.name for c in run.checkpoints if c.kind == "full"}
    folders = full or ({run.base: run.base.name} if run.base else {})
    found: dict[str, list[str]] = {}
    for folder, name in folders.items():
        try:
            config = read_object(folder / "config.json")
        except AttnshiftError as error:
            return failed("configuration", error)
        if config.get("auto_map"):
            seen = f"{name}/config.json names code of its own ({config['auto_map']!r}), which is never run"
            return Check("configuration", "fail", seen, "convert it to an architecture that transformers has")
        inner = config.get("text_config")
        stated = inner if isinstance(inner, dict) else config
        found.setdefault(_shape(stated), []).append(name)
    if not found:
        return Check("configuration", "skipped", "no config.json, and no base")
    told = [f"{shape} ({some(names, 3)})" for shape, names in found.items()]
    if len(found) > 1:
        seen = f"checkpoints of different models: {'; '.join(told)}"
        return Check("configuration", "fail", seen, "move the checkpoints of the other model out of the run")
    return Check("configuration", "ok", next(iter(found)))


def _shape(config: Mapping[str, object]) -> str:
    """What says that two checkpoints are one model."""
    return ", ".join(f"{key} {config[key]}" for key in _SHAPE if config.get(key) is not None) or "it states no sizes"


def _size(run: Run) -> Check:
    """Whether one checkpoint's weights fit the memory of this machine."""
    whole = [checkpoint for checkpoint in run.checkpoints if checkpoint.kind == "full"]
    if not whole:
        return Check("size", "skipped", "adapters alone: their base is no step of the run")
    stored, free = max(map(_bytes, whole)), free_host_bytes()
    seen = f"{stored / 1e6:.1f} MB of weights in the largest; {gigabytes(free)} of memory can be had"
    if stored > free:
        return Check("size", "warn", seen, "a machine with more memory, or GPUs: attnshift trace --device auto")
    return Check("size", "ok", f"{seen}. attnshift trace --dry-run says what a trace takes")


def _bytes(checkpoint: Checkpoint) -> int:
    return sum(file.stat().st_size for file in checkpoint.files)


def _manifest(run: Run, problem: AttnshiftError | None) -> Check:
    if problem is not None:
        return failed("manifest", problem)
    manifest = run.manifest
    if not (run.path / FILE_NAME).exists():
        return Check("manifest", "ok", f"none ({FILE_NAME}): what isn't named with options are defaults")
    template = [Path(manifest.template)] if manifest.template and os.path.isabs(manifest.template) else []
    missing = [path.name for path in (*manifest.conflicts, *manifest.ift, *template) if not path.is_file()]
    if missing:
        seen = f"{FILE_NAME} names {some(missing)}, which the run doesn't hold"
        return Check("manifest", "fail", seen, "copy the files into the run, or take them out of the manifest")
    stated = {
        "arm": manifest.arm,
        "seed": manifest.seed,
        "template": manifest.template and Path(manifest.template).name,
    }
    told = ", ".join(f"{key} {value}" for key, value in stated.items() if value is not None)
    return Check("manifest", "ok", f"{FILE_NAME}: {told or 'names neither arm nor template'}")


def _output(run: Run) -> Check:
    """Whether a trace can be written where it goes by default."""
    out, remedy = run.path / "trace", "name another place with --out"
    if run.hub:
        return Check("output", "warn", f"{run.hub} is on the hub: there is no run directory for its trace", remedy)
    if out.exists() and not out.is_dir():
        return Check("output", "warn", f"{out} is a file", remedy)
    if not os.access(out if out.exists() else out.parent, os.W_OK | os.X_OK):
        return Check("output", "warn", f"{out} can't be written", remedy)
    return Check("output", "ok", f"{out} {'is there' if out.exists() else 'can be made'}")
