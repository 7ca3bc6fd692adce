"""One process at a time: a lock that the operating system drops when its holder dies, however it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RunError


@contextmanager
def locked(path: Path, taken: str = "", wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, which is gone afterwards; if another holds it wait, or raise a RunError."""
    try:
        import fcntl
    except ImportError:
        # Windows has no flock; there a second process is not noticed
        yield
        return
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise RunError(f"{path.parent}: {taken}; wait for it to end, or end it") from None
        if _is_still(handle, path):
            break
        # the former holder removed the file between our open and our lock
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
