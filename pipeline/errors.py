"""What can go wrong, as a tree.

    RushesError                 every error that a person can cause or cure; its text is one sentence
    ├── ConfigError             rushes.toml, a profile or an option says something that cannot be
    ├── ArchiveError            a folder is no archive, is broken, or is in use
    │   └── BusyError           another run is writing it
    ├── QueryError              a query has no content, or none that the archive's spaces can take
    ├── MediaError              one file, with a named reason; becomes a row of the ledger and never stops a run
    │   └── StoreError          one object that cannot be had just now; no row, the next run tries again
    └── IntegrityError          bytes at rest are not what they were when written

Every argument goes to `super().__init__` by position, so that errors survive pickling between processes.
"""

from __future__ import annotations


class RushesError(Exception):
    """The root: what was wrong, with the value, and what to do about it."""


class ConfigError(RushesError):
    """rushes.toml, a profile or an option says something that cannot be."""


class ArchiveError(RushesError):
    """A folder is no archive, is broken, or is in use by another run."""


class BusyError(ArchiveError):
    """Another run is writing the archive; it does, or will find, what this one wanted."""


class QueryError(RushesError):
    """A query has no content, or none that the archive's spaces can take."""


class IntegrityError(RushesError):
    """Bytes at rest are not what they were when written."""


class MediaError(RushesError):
    """One file could not be used.

    `reason` is a short name that tables group by, with an optional detail behind a colon:
    `not_media`, `unsupported_codec:magicyuv`, `decoder_crash:SIGSEGV`, `encoder_crash`, `timeout`, `memory`,
    `too_large:60000x60000`, `truncated_at:12.5`. `detail` is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


class StoreError(MediaError):
    """An object could not be had from its store just now, which says nothing about it: the next run tries again.

    `reason` is `vanished`, `changed` (while it was read), `store_error` (`detail` has the store's words) or `no_space`.
    """
