"""A run, as `attnshift inspect` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnshift.console.units import bytes_text, indented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attnshift.checkpoints.hub import Download
    from attnshift.checkpoints.run import Run


def run_facts(run: Run) -> dict[str, Any]:
    """A run as plain data."""
    from attnshift.checkpoints.tokenizer import tokenizer_dir
    from attnshift.errors import AttnshiftError

    try:
        tokenizer = str(tokenizer_dir(run))
    except AttnshiftError as error:
        tokenizer = f"none: {error.problem}"
    manifest = run.manifest
    return {
        "run": run.hub or str(run.path),
        "base": None if run.base is None else str(run.base),
        "tokenizer": tokenizer,
        "checkpoints": [
            {
                "step": c.step,
                "epoch": c.epoch,
                "kind": c.kind,
                "path": str(c.path),
                "revision": c.revision,
                "files": len(c.files),
                "bytes": sum(file.stat().st_size for file in c.files),
                "digest": run.fingerprints[c.step].digest,
            }
            for c in run.checkpoints
        ],
        "aliases": dict(run.aliases),
        "broken": {str(step): str(error) for step, error in run.broken.items()},
        "manifest": {
            "arm": manifest.arm,
            "seed": manifest.seed,
            "template": manifest.template,
            "max_new_tokens": manifest.max_new_tokens,
            "trained": list(manifest.trained),
            "conflicts": [str(path) for path in manifest.conflicts],
            "ift": [str(path) for path in manifest.ift],
        },
        "notes": list(run.notes),
    }


def run_text(facts: Mapping[str, Any]) -> str:
    """A run as lines."""
    lines = [
        f"run        {facts['run']}",
        f"base       {facts['base'] or 'none'}",
        f"tokenizer  {facts['tokenizer']}",
        "",
    ]
    lines.append(f"{'step':>8}  {'epoch':>6}  {'kind':8}{'size':>9}  folder")
    for c in facts["checkpoints"]:
        epoch = "" if c["epoch"] is None else f"{c['epoch']:.2f}"
        lines.append(
            f"{c['step']:>8}  {epoch:>6}  {c['kind']:8}{bytes_text(c['bytes']):>9}  {c['revision'] or c['path']}"
        )
    lines += [f"{step:>8}  can't be read: {error}" for step, error in facts["broken"].items()]
    lines += [f"alias      {name} = step {step}" for name, step in facts["aliases"].items()]
    stated = {key: value for key, value in facts["manifest"].items() if value not in (None, [])}
    lines += [f"manifest   {key}: {value}" for key, value in stated.items()]
    return "\n".join(map(indented, lines + [f"note: {note}" for note in facts["notes"]]))


def downloads_facts(repo: str, downloads: Sequence[Download]) -> dict[str, Any]:
    """What would be fetched from the hub, as plain data."""
    return {
        "hub": repo,
        "revisions": [{"revision": d.revision, "files": list(d.files), "bytes": d.bytes} for d in downloads],
        "bytes": sum(d.bytes for d in downloads),
    }


def downloads_text(facts: Mapping[str, Any]) -> str:
    """What would be fetched from the hub, as lines."""
    lines = [f"hub        {facts['hub']}"]
    for d in facts["revisions"]:
        told = f"{bytes_text(d['bytes'])}, {len(d['files'])} files" if d["files"] else "in the cache"
        lines.append(f"revision   {d['revision']}: {told}")
    lines.append(
        f"download   {bytes_text(facts['bytes'])}; `attnshift trace` does it; more is told once it is in the cache"
    )
    return "\n".join(lines)
