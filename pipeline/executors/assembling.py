"""The last stage: what was made of the pieces of one asset, put together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.errors import MediaError
from pipeline.executors.stages import INCOMPLETE, Job, Made, Result, Unread
from pipeline.media import Ending, Facts, Media, Modality, Moment
from pipeline.parts import DECODED, MADE_FROM, PERCEIVED, Part, part_of
from pipeline.passages import TRACK
from pipeline.recipe import Models
from pipeline.scenes import fuse_scenes
from pipeline.writing import joined


def assemble(job: Job, made: Sequence[Made], models: Models, fusion: Mapping[Modality, float]) -> Result:
    """Put an asset together from all that was made of its pieces, in any order, and fuse its scenes."""
    made = sorted(made, key=lambda m: m.ordinal)
    facts = next((m.news for m in made if isinstance(m.news, Facts)), job.facts)
    failure = next((m.news for m in made if isinstance(m.news, MediaError)), None)
    ending = next((m.news for m in made if isinstance(m.news, Ending)), None)
    if failure is None and ending is None:
        failure = MediaError(INCOMPLETE, "not all of the file's pieces came back; it is tried again next time")
    if failure is not None or facts is None:
        return Result(job.asset_id, facts, (), failure=failure or MediaError("not_media"))
    moments = _one_voice([m for piece in made for m in piece.moments])
    perceived = [m for m in moments if part_of(m.modality, m.track) in DECODED]
    whole = job.makes >= PERCEIVED & MADE_FROM[facts.media]
    damage = ending.damage if ending else None
    if damage and whole and not perceived:
        return Result(job.asset_id, facts, (), failure=MediaError(damage))
    known = job.facts.duration_seconds if job.facts is not None and not whole else 0.0
    duration = max([facts.duration_seconds, known, *(m.stop_seconds for m in perceived)])
    if facts.media == Media.IMAGE:
        duration = 0.0
    moments = [replace(m, stop_seconds=duration) if _is_told(m) else m for m in _written_once(moments)]
    if Part.SCENE in job.makes:
        moments += fuse_scenes([*perceived, *job.kept], models, fusion)
    unique = {m.moment_id: m for m in moments}
    unread = tuple(each for piece in made for each in piece.unread)
    said = {"sampled": ending.sampled if ending else "", "unread": _in_words(unread)}
    metadata = {**facts.metadata, **{key: words for key, words in said.items() if words}, **job.metadata}
    known_now = replace(facts, duration_seconds=duration, metadata=metadata)
    return Result(job.asset_id, known_now, tuple(unique.values()), damage=damage, unread=unread)


def _is_told(moment: Moment) -> bool:
    """Tell whether a moment is words about the whole asset, such as its title."""
    return part_of(moment.modality, moment.track) == Part.TEXT


def _written_once(moments: Sequence[Moment]) -> list[Moment]:
    """Join the readings of what is written, which came frame by frame."""
    written = [m for m in moments if part_of(m.modality, m.track) == Part.WRITING]
    return [m for m in moments if part_of(m.modality, m.track) != Part.WRITING] + joined(written)


def _in_words(unread: Sequence[Unread]) -> str:
    """Return what readers could not read, and what the first of each kind was."""
    told = []
    for track, n in sorted(Counter(each.track for each in unread).items()):
        error = next(each.error for each in unread if each.track == track)
        told.append(f"{track}: {n} frame{'s' if n > 1 else ''} ({error})")
    return "; ".join(told)


def _one_voice(moments: list[Moment]) -> list[Moment]:
    """A transcript that came with the file beats what was heard in its main track; the others say something else."""
    given = any(m.modality == Modality.SPEECH and not _HEARD.match(m.track) for m in moments)
    return [m for m in moments if m.modality != Modality.SPEECH or not given or not _HEARD_IN_MAIN.fullmatch(m.track)]


_HEARD = re.compile(rf"({TRACK})?(speech|translation:)")
"""Tracks of words that came from the speech reader."""
_HEARD_IN_MAIN = re.compile(rf"({TRACK})?(speech|translation:[^:]+)")
