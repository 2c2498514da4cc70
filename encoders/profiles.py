"""Profiles: named sets of encoders, one for each modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class UnknownProfileError(LookupError):
    """No profile has this name; the message lists those that there are."""


@dataclass(frozen=True)
class Profile:
    """Which encoder does what; the names are those of `encoders.load`."""

    name: str
    visual: str
    """Frames, and words about them."""
    text: str
    """What was said or written."""
    audio: str
    """Sound, and words about it."""
    speech: str
    """The reader that hears what is said."""
    clips: str = ""
    """Frames of a shot as one clip, and words about what happens in it; empty: no encoder looks at clips."""
    captions: str = ""
    """The reader that says what a frame shows; empty: none."""
    writing: str = ""
    """The reader of what is written in frames; empty: none."""
    gpu_share: float = 0.0
    """What they take of one GPU together, where there is one, so that several sets share it; 0: they use none."""


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            # Weights out of Python packages, no download, no accelerator.
            Profile(
                name="embedded", visual="labels", text="sentence", audio="sounds", speech="whisper", gpu_share=0.25
            ),
        )
    }
)


def profile(name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        UnknownProfileError: there is none.
    """
    if name not in PROFILES:
        raise UnknownProfileError(f"There is no profile {name!r}; known are {', '.join(PROFILES)}.")
    return PROFILES[name]
