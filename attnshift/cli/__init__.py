"""The command line: arguments to library calls, one to one. A module per command."""

from attnshift.cli import compare, demo, inspect, plot, report, rescore, theory, trace  # noqa: F401  (they register themselves)
from attnshift.cli.app import main
from attnshift.cli.choices import read_seeds

__all__ = ["main", "read_seeds"]
