"""Silence for TensorFlow, which logs from C++ straight to file descriptor 2."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What libraries write to file descriptor 2, log or warn about within is dropped.

    `sys.stderr` keeps reaching the terminal, so that other threads can report progress; what goes
    wrong in Python leaves the block as an exception. Programs that other threads start within
    inherit the silence unless their standard error is redirected.
    """
    absl = logging.getLogger("absl")
    level = absl.level
    with warnings.catch_warnings(), _descriptor_2_dropped():
        warnings.simplefilter("ignore")
        absl.setLevel(logging.ERROR)
        try:
            yield
        finally:
            absl.setLevel(level)


@contextlib.contextmanager
def _descriptor_2_dropped() -> Iterator[None]:
    original = sys.stderr
    original.flush()
    with contextlib.ExitStack() as stack:
        saved = os.dup(2)
        stack.callback(os.close, saved)
        sink = stack.enter_context(tempfile.TemporaryFile())
        if _is_descriptor_2(original):
            sys.stderr = stack.enter_context(
                os.fdopen(os.dup(saved), "w", buffering=1, errors="backslashreplace")
            )
            stack.callback(setattr, sys, "stderr", original)
        os.dup2(sink.fileno(), 2)
        stack.callback(os.dup2, saved, 2)
        yield


def _is_descriptor_2(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
