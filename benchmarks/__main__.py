"""`python -m benchmarks`: measure, and write table.md, results.json and a figure.

Every comparison runs ours and the other in turns in this one process, so that a busy machine disturbs both alike.
With --only, what an earlier run left in --out about the other comparisons is kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from attnshift.models.quiet import quiet_libraries
from benchmarks import attention, figure, gradients, scaling, scoring, series, start, table, trace
from benchmarks.bench import Bench
from benchmarks.environment import described, environment
from benchmarks.rows import Section, section_from_json, section_json

COMPARISONS: dict[str, Callable[[Bench], Section]] = {
    "attention": attention.attention,
    "gradients": gradients.gradients,
    "examples": gradients.examples,
    "push": gradients.push,
    "scoring": scoring.scoring,
    "series": series.series,
    "adapters": series.adapters,
    "many": series.many,
    "trace": trace.trace,
    "scaling": scaling.scaling,
    "start": start.start,
}
RESULTS = "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 if a comparison failed."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    quiet_libraries()
    options.out.mkdir(parents=True, exist_ok=True)
    found, failed = _earlier(options.out, options.only), False
    for name in options.only:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(options.device, options.pairs, options.quick, Path(folder))
            try:
                section = _measured(name, bench)
            except Exception:  # the others are worth having
                failed = True
                section = Section(notes=[f"{name}: failed, {traceback.format_exc().splitlines()[-1]}."])
                traceback.print_exc()
            found[name] = {"environment": environment(bench), **section_json(section)}
        _write(found, options.out, images=False)
    print(_write(found, options.out, images=not options.quick))
    return int(failed)


def _measured(name: str, bench: Bench) -> Section:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # vmap's, of itself
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing", FutureWarning)  # between peft and transformers
        return COMPARISONS[name](bench)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="directory of the results")
    parser.add_argument("--only", type=_names, default=list(COMPARISONS), help=f"of {', '.join(COMPARISONS)}")
    parser.add_argument("--pairs", type=int, default=5, help="pairs per comparison")
    parser.add_argument("--quick", action="store_true", help="tiny shapes: whether it runs, not what it costs")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="threads of the processor")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(COMPARISONS))
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there is {', '.join(COMPARISONS)}")
    return names


def _earlier(out: Path, replaced: Sequence[str]) -> dict[str, Any]:
    """What an earlier run found, in the order of the comparisons."""
    try:
        content = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: content[name] for name in COMPARISONS if name in content and name not in replaced}


def _write(found: dict[str, Any], out: Path, images: bool) -> str:
    """Write everything anew; returns the table."""
    found = {name: found[name] for name in COMPARISONS if name in found}
    (out / RESULTS).write_text(json.dumps(found, indent=1), encoding="utf-8")
    sections = {name: section_from_json(content) for name, content in found.items()}
    environments = dict.fromkeys(described(content["environment"]) for content in found.values())
    notes = figure.write([row for section in sections.values() for row in section.rows], out, images)
    text = table.markdown(sections, [*notes, *environments])
    (out / "table.md").write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
