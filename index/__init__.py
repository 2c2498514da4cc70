"""Vectors and ids: index generations, search and recommendation.

import index

archive = index.open("my-archive")
print(archive.search("a dog in the snow", k=5))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from index.hits import Hit, Hits
    from index.searcher import Searcher, open  # noqa: A004 - read as `index.open`

__all__ = ["Hit", "Hits", "Searcher", "open"]

_HOMES = {"Hit": "index.hits", "Hits": "index.hits", "Searcher": "index.searcher", "open": "index.searcher"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing this room costs nothing."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'index' has no attribute {name!r}")
