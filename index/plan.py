"""Which index a list of vectors gets: a typed choice from its size, never a string that is parsed back."""

from __future__ import annotations

from dataclasses import dataclass

EXACT_BELOW = 20_000
"""At 1000 dimensions an exact search over this many vectors takes about 5 ms on one core."""


@dataclass(frozen=True)
class Exact:
    """Every vector is compared."""


@dataclass(frozen=True)
class Graph:
    """A navigable small-world graph (HNSW, Malkov & Yashunin 2018) over fp16 vectors."""

    n_links: int = 32
    breadth_build: int = 120
    breadth_search: int = 128


Plan = Exact | Graph


def choose(n_vectors: int) -> Plan:
    """Return the plan for a list of so many vectors."""
    return Exact() if n_vectors < EXACT_BELOW else Graph()
