"""What encoders compute with, loaded before they are asked: it takes seconds, which others may be waited for in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def loading() -> Iterator[None]:
    """Import torch in a thread beside what is done here. No weights are loaded, and no GPU is touched."""
    thread = Thread(target=_load, name="ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()  # a process that ends in the midst of it may crash


def _load() -> None:
    with suppress(ImportError):  # whoever needs it says so
        import torch  # noqa: F401
