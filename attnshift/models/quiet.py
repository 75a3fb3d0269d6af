"""Libraries that talk while they load."""

from __future__ import annotations


def quiet_libraries() -> None:
    """Keep transformers from printing notices and progress bars in this process."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
