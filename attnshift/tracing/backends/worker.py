"""The other end of `processes`: a process with one post, told what to do through a pipe."""

from __future__ import annotations

import os
import pickle
import sys
from multiprocessing.connection import Connection
from threading import Thread

READY = b"ready"


def main(handle: int, device: str, threads: int) -> None:
    """Serve the parent at the other end of a pipe. Once the parent is gone, so is this process, whatever it does."""
    Thread(target=_follow_parent, daemon=True).start()
    from attnshift.models.quiet import quiet_libraries
    from attnshift.tracing.backends.elsewhere import Post

    quiet_libraries()
    pipe, post, job = Connection(handle), Post(device or None, threads), b""
    pipe.send_bytes(READY)
    while True:
        sent, errand = pickle.loads(pipe.recv_bytes())  # noqa: S301  (from the process that started this one)
        job = sent or job
        pipe.send_bytes(pickle.dumps(post.attempt(job, errand)))


def _follow_parent() -> None:
    sys.stdin.buffer.read()  # ends when the parent closes it, or dies
    os._exit(1)
