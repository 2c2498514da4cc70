"""What readers did not believe of what their models wrote, told once."""

from __future__ import annotations

from collections import Counter


class Doubts:
    """The counts of some readers; each has `rejected`, a Counter by reason, or rejects nothing."""

    def __init__(self, *readers: object) -> None:
        self._readers = readers
        self._told = self._counted()

    def since(self) -> dict[str, int]:
        """Return how much was left out since this was last asked, or since the start, by reason."""
        now, before = self._counted(), self._told
        self._told = now
        return dict(now - before)

    def _counted(self) -> Counter[str]:
        counted = Counter[str]()
        for reader in self._readers:
            counted.update(getattr(reader, "rejected", {}))
        return counted
