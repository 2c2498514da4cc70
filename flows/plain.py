"""Which errors are told in one sentence, and which are bugs."""

from __future__ import annotations


def is_plain(error: BaseException) -> bool:
    """Tell whether an error is one sentence for a person; anything else is a bug, and its trace is wanted."""
    from encoders.registry import REFUSALS
    from pipeline.errors import RushesError

    return isinstance(error, (RushesError, *REFUSALS))
