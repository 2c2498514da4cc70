"""Which errors are told in one sentence, and which are bugs."""

from __future__ import annotations


def is_plain(error: BaseException) -> bool:
    """Tell whether an error is one sentence for a person; anything else is a bug, and its trace is wanted."""
    from encoders.models import UnsafeModelError
    from encoders.packages import ChangedFileError, MissingPackageError
    from encoders.registry import PlugInError, UnknownEncoderError
    from pipeline.errors import RushesError

    of_encoders = MissingPackageError | ChangedFileError | UnsafeModelError | PlugInError | UnknownEncoderError
    return isinstance(error, RushesError | of_encoders)
