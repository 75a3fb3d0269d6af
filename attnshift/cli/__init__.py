"""The command line: arguments to library calls, one to one. A module per command."""

from attnshift.cli import (  # noqa: F401  (they register themselves)
    augment,
    compare,
    demo,
    doctor,
    finetune,
    ingest,
    inspect,
    interventions,
    overlap,
    plot,
    report,
    rescore,
    split,
    theory,
    trace,
)
from attnshift.cli.app import main
from attnshift.cli.choices import read_seeds

__all__ = ["main", "read_seeds"]
