"""When each token was said, from the attention that a Whisper decoder pays to the sound.

The cross-attention of some heads follows the voice; the cheapest path through it by dynamic time warping gives each
token its frames (Radford et al. 2022, and the word timestamps of OpenAI's Whisper).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEDIAN_WIDTH = 7


def token_starts(attention: NDArray[np.float32], n_tokens: Sequence[int], n_frames: Sequence[int]) -> list[list[int]]:
    """Return for each window the frame at which each of its tokens begins.

    Args:
        attention: float32 [B, T, F], high where a token looks; rows and columns beyond a window's are left alone.
        n_tokens: of each window, at most T.
        n_frames: of each window, at most F.
    """
    diagonals = _steps(-attention)
    return [_walk_back(diagonals[b], n, f) for b, (n, f) in enumerate(zip(n_tokens, n_frames, strict=True))]


def _steps(cost: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return where the cheapest path came from: 0 both before, 1 the token before, 2 the frame before.

    All windows at once, one antidiagonal after the other: what a cell needs lies on the two before it. So a batch takes
    T + F steps, and what lies beyond a window's own tokens and frames does not change what lies within.

    Args:
        cost: float32 [B, T, F].

    Returns:
        int8 [B, T, F].
    """
    n_windows, n_tokens, n_frames = cost.shape
    came_from = np.zeros(cost.shape, np.int8)
    tokens = np.arange(n_tokens)
    before = np.full((n_windows, n_tokens + 1), np.inf, np.float32)  # [:, t + 1] is token t; [:, 0] lies outside
    before_that = before.copy()
    before_that[:, 0] = 0.0  # where every path begins
    for diagonal in range(n_tokens + n_frames - 1):
        frames = diagonal - tokens
        inside = (frames >= 0) & (frames < n_frames)
        t, f = tokens[inside], frames[inside]
        both, token, frame = before_that[:, t], before[:, t], before[:, t + 1]
        step = np.where((both < token) & (both < frame), 0, np.where((token < both) & (token < frame), 1, 2))
        came_from[:, t, f] = step
        here = np.full_like(before, np.inf)
        here[:, t + 1] = cost[:, t, f] + np.minimum(np.minimum(both, token), frame)
        before, before_that = here, before
    return came_from


def _walk_back(came_from: NDArray[np.int8], n_tokens: int, n_frames: int) -> list[int]:
    starts = [0] * n_tokens
    token, frame = n_tokens - 1, n_frames - 1
    while token >= 0 and frame >= 0:
        starts[token] = frame
        step = came_from[token, frame]
        token, frame = token - int(step != 2), frame - int(step != 1)
    return starts


@contextmanager
def attention_of_heads(model: Any) -> Iterator[Callable[[int, list[int], list[int]], NDArray[np.float32]]]:
    """Watch the heads of a Whisper of transformers that follow the voice, during one pass of its decoder.

    Yields a function of the first row that counts, and each window's number of tokens and of frames, to be called after
    the pass. It returns float32 [B, T, F]: the mean over heads of what they look at, each frame's compared with what it
    gets from the other tokens, smoothed over MEDIAN_WIDTH frames.
    """
    config = model.config
    heads = getattr(model.generation_config, "alignment_heads", None) or [
        (layer, head)
        for layer in range(config.decoder_layers // 2, config.decoder_layers)
        for head in range(config.decoder_attention_heads)
    ]
    seen: dict[tuple[int, str], Any] = {}
    hooks = [
        getattr(model.model.decoder.layers[layer].encoder_attn, name).register_forward_hook(
            partial(_keep, seen, (layer, name))
        )
        for layer in {layer for layer, _ in heads}
        for name in ("q_proj", "k_proj")
    ]
    try:
        yield partial(_attention, seen, heads, config.d_model // config.decoder_attention_heads)
    finally:
        for hook in hooks:
            hook.remove()


def _keep(seen: dict[tuple[int, str], Any], key: tuple[int, str], _module: Any, _inputs: Any, output: Any) -> None:
    seen[key] = output


def _attention(
    seen: dict[tuple[int, str], Any],
    heads: Sequence[Sequence[int]],
    width: int,
    first: int,
    n_tokens: list[int],
    n_frames: list[int],
) -> NDArray[np.float32]:
    import torch

    columns = [slice(head * width, (head + 1) * width) for _, head in heads]
    looking = [seen[layer, "q_proj"][:, first:, at] for (layer, _), at in zip(heads, columns, strict=True)]
    looked_at = [seen[layer, "k_proj"][..., at] for (layer, _), at in zip(heads, columns, strict=True)]
    scores = torch.stack(looking, 1).float() @ torch.stack(looked_at, 1).float().mT * width**-0.5  # [B, heads, T, F]
    tokens, frames = (torch.tensor(n, device=scores.device)[:, None] for n in (n_tokens, n_frames))
    beyond = torch.arange(scores.shape[-1], device=scores.device) >= frames
    weights = scores.masked_fill(beyond[:, None, None], -torch.inf).softmax(-1)
    counted = (torch.arange(scores.shape[-2], device=scores.device) < tokens)[:, None, :, None].float()
    mean = (weights * counted).sum(-2, keepdim=True) / counted.sum(-2, keepdim=True)
    spread = (((weights - mean).square() * counted).sum(-2, keepdim=True) / counted.sum(-2, keepdim=True)).sqrt()
    normal = (weights - mean) / spread.clamp_min(1e-6)
    around = torch.nn.functional.pad(normal.flatten(0, 1), (MEDIAN_WIDTH // 2,) * 2, mode="reflect")
    smooth = around.unfold(-1, MEDIAN_WIDTH, 1).median(-1).values.reshape(normal.shape)
    found: NDArray[np.float32] = smooth.mean(1).cpu().numpy()
    return found
