"""The application: its commands register here, and `main` turns what goes wrong into a line and an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import traceback
import warnings
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Annotated, Any

import typer

from attnshift.console.units import indented, visible
from attnshift.errors import AttnshiftError, came_of_interrupt

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See how finetuning shifts a language model between its context and its memory.",
)

_INTERRUPTED = 130
_TERMINATED = 143
_NOBODY_READS = 141
"""Exit codes of what ends by a signal: 128 and its number, as shells say it."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")]


def main() -> None:
    """Run the command line; errors become one short block on stderr and an exit code."""
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal can't show is no reason to fail
    with _interruptible(debug) as came:
        code = _ended(debug, came)
    if code == _INTERRUPTED:  # typer turns Ctrl-C into this code without a word
        fail("interrupted; what was computed is kept, and the same command goes on from there", debug=False)
        code = _TERMINATED if signal.SIGTERM in came else code
    sys.exit(code)


def _ended(debug: bool, came: Sequence[int]) -> int:
    """Run the command and say what went wrong; its exit code. After a signal any error is what a library made of it."""
    try:
        code = app(prog_name="attnshift", standalone_mode=False)
    except AttnshiftError as error:
        fail(f"error: {error}", debug)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if callable(show := getattr(error, "show", None)):  # click's own: a wrong option, say
            show(file=(said := io.StringIO()))
            fail(said.getvalue().rstrip("\n"), debug=False)
            code = int(getattr(error, "exit_code", 2))
        elif came or came_of_interrupt(error):
            code = _INTERRUPTED
        elif isinstance(error, OSError) and error.filename is not None and error.strerror:
            told = AttnshiftError(
                f"{str(error.filename)!r} can't be used: {error.strerror}",
                expected="a path that this machine has and lets you use",
            )
            fail(f"error: {told}", debug)
            code = 2
        else:
            fail(f"error: {type(error).__name__}: {error}\n  this is a bug in attnshift: --debug shows where", debug)
            code = 1
    return int(code or 0)


@contextmanager
def _interruptible(debug: bool) -> Iterator[list[int]]:
    """Let SIGTERM, with which a cluster ends a job, end the command as Ctrl-C does; yields what signals came.

    An interrupt that comes while Python clears up an object is lost there: it is sent again a moment later. What
    libraries' clean-up stumbles over afterwards is for --debug.
    """
    came: list[int] = []
    again = Timer(0, interrupt_main)

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def repeat(lost: Any) -> None:
        nonlocal again
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            if debug or not came:
                told(lost)
        elif not again.is_alive():
            again = Timer(0.05, interrupt_main)
            again.start()

    ours = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, by nohup, say
        ours.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in ours}
    told = sys.unraisablehook
    sys.unraisablehook = repeat
    try:
        yield came
    finally:
        again.cancel()
        sys.unraisablehook = told
        for number, handler in before.items():
            signal.signal(number, handler)


def quiet(debug: bool) -> None:
    """Keep libraries from talking, unless somebody debugs."""
    if not debug:
        from attnshift.models.quiet import quiet_libraries

        quiet_libraries()


def show(facts: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    """Print facts, as JSON or as the lines that ``text`` makes of them."""
    say(json.dumps(facts, indent=1, ensure_ascii=_is_narrow(sys.stdout)) if as_json else text(facts))


def say(text: str) -> None:
    """Print a result on stdout; raises AttnshiftError where that can't be written."""
    try:
        typer.echo(visible(text))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else what is buffered fails again at exit
        if isinstance(error, BrokenPipeError):  # a pager or `head` has seen enough
            raise typer.Exit(_NOBODY_READS) from error
        raise AttnshiftError(
            f"the result can't be printed: {error.strerror or error}", remedy="make room where stdout goes to"
        ) from error


def _is_narrow(stream: Any) -> bool:
    """Whether a stream can't take every character."""
    return not str(stream.encoding or "").lower().replace("-", "").startswith("utf")


def note(text: str) -> None:
    """Print a note on stderr."""
    typer.echo(visible(indented(f"note: {text}")), err=True)


def fail(text: str, debug: bool) -> None:
    """Print what went wrong on stderr."""
    typer.echo(visible(traceback.format_exc() + text if debug else text), err=True)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Our own warnings are notes for the user; those of libraries are for --debug."""
    if category is UserWarning or "--debug" in sys.argv:
        note(str(message))
