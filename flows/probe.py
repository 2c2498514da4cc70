"""`rushes probe`: what a file is, and with --plan which frames of it would be kept and what is decoded for them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from index.hits import clock, harmless
from pipeline.decode import Plan, plan
from pipeline.decode import probe as look
from pipeline.decode.device import device_of
from pipeline.errors import MediaError
from pipeline.media import Facts, Media, Mode, Sampling

_MOST_ROWS = 20
_MEGABYTE = 1e6


def probe(options: argparse.Namespace) -> int:
    """Print what a file is, and the plan of its pictures if asked for; return 2 for what cannot be decoded."""
    planned, device = None, ""
    try:
        facts = look(options.file)
        if options.plan and facts.media == Media.VIDEO:
            sampling = Sampling(mode=Mode(options.mode))
            planned = plan(options.file, sampling)
            device = device_of(facts, planned.mode, sampling, share=planned.share_decoded).reason
    except MediaError as error:
        print(f"rushes: {harmless(str(options.file))} cannot be decoded: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({**asdict(facts), "plan": _as_dict(planned, device) if planned else None}, ensure_ascii=False))
        return 0
    print("\n".join(_told(options.file, facts)))
    if planned:
        print("\n".join(_told_plan(planned, device)))
    elif options.plan:
        print("plan        none: only pictures that move are sampled, the rest is decoded whole")
    return 0


def _told(file: Path, facts: Facts) -> Iterator[str]:
    yield harmless(file.name)
    coded = "/".join(filter(None, (facts.container, facts.video_codec, facts.audio_codec)))
    yield f"media       {facts.media}, {coded}"
    if facts.width:
        rate = f", {facts.frames_per_second:.5g} frames a second" if facts.frames_per_second else ""
        yield f"pictures    {facts.width} x {facts.height}{rate}"
    if facts.duration_seconds:
        yield f"duration    {clock(facts.duration_seconds)}"
    if facts.timecode:
        yield f"time code   {facts.timecode}"
    if facts.audio_tracks:
        yield f"sound       {facts.audio_tracks} track{'s' * (facts.audio_tracks > 1)}"
    for key, text in facts.metadata.items():
        yield f"{harmless(key)[:11]:<11} {harmless(text)}"


def _told_plan(planned: Plan, device: str) -> Iterator[str]:
    decoded, all_bytes = (n / _MEGABYTE for n in (planned.n_bytes_decoded, planned.n_bytes))
    yield f"plan        {planned.mode}: {planned.reason}"
    more = ", and one of each shot that would have none" if planned.mode == Mode.SHOTS else ""
    yield f"keeps       {len(planned.at_seconds)} frames{more}"
    packets = f"{planned.n_decoded} of {planned.n_packets} packets ({planned.share_decoded:.1%})"
    yield f"decodes     {packets}, {decoded:.1f} of {all_bytes:.1f} MB"
    if len(planned.starts) > 1:
        yield f"pieces      {len(planned.starts)} for several workers, from {' '.join(map(clock, planned.starts))}"
    yield f"device      {device}"
    yield f"{'from':<11} {'until':<11} {'packets':<12} frames kept at"
    for each in planned.ranges[:_MOST_ROWS]:
        kept = [at for at in planned.at_seconds if each.start_seconds <= at < each.stop_seconds]
        times = " ".join(f"{at:.2f}" for at in kept) or "none: it is compared with the one before"
        packets = f"{each.n_decoded} of {each.n_packets}"
        yield f"{each.start_seconds:<11.2f} {each.stop_seconds:<11.2f} {packets:<12} {times}"
    if len(planned.ranges) > _MOST_ROWS:
        yield f"and {len(planned.ranges) - _MOST_ROWS} more groups; --json has all of them"


def _as_dict(planned: Plan, device: str) -> dict[str, Any]:
    return {
        **asdict(planned),
        "device": device,
        "at_seconds": planned.at_seconds.tolist(),
        "n_decoded": planned.n_decoded,
    }
