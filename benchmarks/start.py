"""How long it takes until anything happens."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.clock import Cost
from benchmarks.rows import Goal, Row, Section

TIMES = 5
GOALS = (Goal("time", 0.4),)
PROGRAMS = {
    'python -c "import attnshift"': "import attnshift",
    "attnshift --help": "import sys; sys.argv = ['attnshift', '--help']; from attnshift.cli import main; main()",
}


def start(bench: Bench) -> Section:
    """Processor time of fresh processes, Python's own start included."""
    section = Section()
    for name, program in PROGRAMS.items():
        _spawn(program)
        costs = [_spawn(program) for _ in range(1 if bench.quick else TIMES)]
        section.rows.append(Row(name, "a fresh process", "", costs, goals=GOALS, clock="cpu"))
    return section


def _spawn(program: str) -> Cost:
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall)
