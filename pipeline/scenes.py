"""Scenes: what is seen, heard and said in one shot, in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import concatenate, pool
from pipeline.media import Modality, Moment
from pipeline.parts import PERCEIVED, part_of
from pipeline.passages import TRACK
from pipeline.recipe import Models


def fuse_scenes(moments: Sequence[Moment], models: Models, weights: Mapping[Modality, float]) -> list[Moment]:
    """Return one scene per shot (per audio window, or per sentence, where there are no pictures) of one asset.

    A scene's vector is the weighted direct sum of the visual vector of its shot and of the pooled vectors of the audio
    windows and of the sentences that overlap it. What is missing leaves its block empty.
    """
    by: dict[Modality, list[Moment]] = {m: [] for m in Modality}
    for moment in moments:
        perceived = part_of(moment.modality, moment.track) in PERCEIVED
        if perceived and not moment.track.startswith(TRACK):  # a passage's sentences are there by themselves
            by[moment.modality].append(moment)
    first = min((m.track for m in by[Modality.AUDIO]), default="")  # one track gives the times, all give the sound
    frame = by[Modality.VISUAL] or [m for m in by[Modality.AUDIO] if m.track == first] or by[Modality.SPEECH]
    dims = {m: dim for m, (_, dim) in models.blocks().items()}
    space = models.scene_space(weights)
    scenes = []
    for shot in frame:
        blocks = {m: _pooled(by[m], shot) for m in dims}
        if not any(weights[m] and block is not None for m, block in blocks.items()):
            continue
        said = [m.text for m in by[Modality.SPEECH] if _overlap(m, shot) and not m.track.startswith("translation:")]
        scenes.append(
            Moment(
                asset_id=shot.asset_id,
                modality=Modality.SCENE,
                track="scene",
                start_seconds=shot.start_seconds,
                stop_seconds=shot.stop_seconds,
                space=space,
                vector=concatenate(blocks, dims, weights),
                text=" ".join(said),
                labels=shot.labels,
                thumb=shot.thumb,
            )
        )
    return scenes


def _pooled(moments: Sequence[Moment], shot: Moment) -> NDArray[np.float32] | None:
    vectors = [m.vector for m in moments if m is shot or _overlap(m, shot)]
    return pool(np.stack(vectors)) if vectors else None


def _overlap(moment: Moment, shot: Moment) -> bool:
    """Tell whether a moment lies mostly in a shot, or a shot mostly in it; touching by a syllable does not count."""
    shared = min(moment.stop_seconds, shot.stop_seconds) - max(moment.start_seconds, shot.start_seconds)
    shorter = min(moment.stop_seconds - moment.start_seconds, shot.stop_seconds - shot.start_seconds)
    return shared > 0 and shared >= 0.25 * shorter
