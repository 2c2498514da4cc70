"""What the sizes of packets say about where shots begin. Pure functions.

The frame after a cut cannot be predicted from the one before it: it is coded almost anew, and is large.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.groups import Group

_WINDOW_SECONDS = 1.0
_SPIKES = ((2.0, 0.3), (4.0, 0.1))
"""A packet may begin a shot if it is so many times larger than any in the second before it, and has this share of its
group's key frame. So chosen that on films whose cuts lie between key frames most are found and few others."""
_LEAST_SURPRISE, _LEAST_SHARE = 1.2, 0.2
"""Where the next key frame shows that there was a cut, so little says where."""
_FIRST_PACKETS, _FIRST_SHARE = 6, 0.25


def spikes_of(group: Group) -> list[float]:
    """Return the times at which a shot may begin, by the packets' sizes; rising."""
    if len(group.sizes) < 2 or group.stop_seconds - float(group.at_seconds.min()) <= _WINDOW_SECONDS:
        return []  # the next key frame comes soon enough to tell
    ratios, spikes = _surprise(group), np.zeros(len(group.sizes), np.bool_)
    for ratio, share in _SPIKES:
        spikes |= (ratios >= ratio) & (group.sizes >= share * group.sizes[0])
    begun = _begun(group)
    return sorted(float(begun[row]) for row in np.flatnonzero(spikes))


def likeliest_cut(group: Group, first: int) -> float | None:
    """Return when a shot most likely began, if one did, among the packets from row `first` on; None: unknown."""
    if first >= len(group.sizes) or group.stop_seconds - float(group.at_seconds.min()) <= _WINDOW_SECONDS:
        return None
    ratios = np.where(group.sizes >= _LEAST_SHARE * group.sizes[0], _surprise(group), 0.0)
    row = first + int(ratios[first:].argmax())
    return float(_begun(group)[row]) if ratios[row] >= _LEAST_SURPRISE else None


def _surprise(group: Group) -> NDArray[np.float64]:
    """Return how many times larger each packet is than the largest in the second before it; float64 [N]."""
    sizes, seconds = group.sizes, group.stop_seconds - float(group.at_seconds.min())
    window = max(_FIRST_PACKETS, round(_WINDOW_SECONDS * len(sizes) / max(seconds, 1e-3)))
    padded = np.concatenate([np.zeros(window, np.int64), sizes])
    # The key frame's size says nothing of those after it, but as long as there is little else to compare with.
    padded[window], padded[:_FIRST_PACKETS] = 0, _FIRST_SHARE * sizes[0]
    before = np.lib.stride_tricks.sliding_window_view(padded, window)[: len(sizes)].max(axis=1)
    ratios = sizes / np.maximum(before, 1)
    ratios[0] = 0.0
    return np.asarray(ratios)


def _begun(group: Group) -> NDArray[np.float64]:
    """Return when a shot began if a packet begins one: frames coded after it but shown before belong to it."""
    return np.asarray(np.minimum.accumulate(group.at_seconds[::-1])[::-1])


def before_large(group: Group) -> NDArray[np.bool_]:
    """Return which packets are decoded after, but displayed before, one so large that it may begin a shot."""
    sizes = group.sizes
    usual = np.sort(sizes)[3 * len(sizes) // 4]
    large = np.where(sizes > 2 * usual, group.at_seconds, -np.inf)
    return np.asarray(group.at_seconds <= np.maximum.accumulate(large))
