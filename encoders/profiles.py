"""Profiles: named sets of encoders, one for each modality. People write their own into rushes.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any


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

    def encoders(self) -> dict[str, str]:
        """Return role ("visual", "text" …) → name, of all that the profile has."""
        roles = (f.name for f in fields(self) if f.name not in ("name", "gpu_share"))
        return {role: name for role in roles if (name := getattr(self, role))}


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            # Weights out of Python packages, no download, no accelerator.
            Profile(
                name="embedded", visual="labels", text="sentence", audio="sounds", speech="whisper", gpu_share=0.25
            ),
            # Open weights, several languages. `encoders.catalogue` has what they are.
            Profile(
                name="open",
                visual="clip:google/siglip2-base-patch16-224",
                text="st:intfloat/multilingual-e5-small",
                audio="clap:laion/clap-htsat-unfused",
                speech="whisper:Systran/faster-whisper-small",
                gpu_share=0.5,
            ),
            Profile(
                name="large",
                visual="clip:google/siglip2-so400m-patch16-384",
                text="st:intfloat/multilingual-e5-large",
                audio="clap:laion/clap-htsat-unfused",
                speech="whisper:dropbox-dash/faster-whisper-large-v3-turbo",
                clips="xclip:microsoft/xclip-base-patch32",
                captions="caption:HuggingFaceTB/SmolVLM-256M-Instruct",
                writing="ocr",
                gpu_share=1.0,
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


def described(name: str, said: Mapping[str, Any]) -> Profile:
    """Return a person's own profile.

    Args:
        name: how it is called.
        said: the fields of `Profile` (without `name`), and `base`, a profile to begin with; without one, `visual`,
            `text`, `audio` and `speech` are needed.

    Raises:
        UnknownProfileError: its base does not exist.
        ValueError: a field means nothing, is missing, or is not of its type; the message goes on after "NAME: ".
    """
    if name in PROFILES:
        raise ValueError("the name belongs to a profile that comes with Rushes; give yours another")
    needed = ("visual", "text", "audio", "speech")
    known = ("base", *needed, "clips", "captions", "writing", "gpu_share")
    given = dict(said)
    if unknown := [key for key in given if key not in known]:
        raise ValueError(f"{unknown[0]!r} means nothing; known are {', '.join(known)}")
    if not isinstance(given.get("base", ""), str):
        raise ValueError(f"base = {given['base']!r} needs to be the name of a profile")
    for key in set(given) - {"base", "gpu_share"}:
        if not isinstance(given[key], str) or (key in needed and not given[key]):
            raise ValueError(f'{key} = {given[key]!r} needs to be the name of an encoder, such as "clip:/models/ours"')
    share = given.get("gpu_share", 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"gpu_share = {share!r} needs to be a number from 0 to 1")
    base = given.pop("base", "")
    if base:
        return replace(profile(base), name=name, **given)
    if missing := [key for key in needed if key not in given]:
        raise ValueError(f'{missing[0]} is missing; name an encoder for it, or begin with base = "embedded"')
    return Profile(name=name, **given)
