"""Whether the encoders of this process hold a GPU, asked without loading anything."""

from __future__ import annotations

import sys


def held() -> int:
    """Return how many GPUs this process holds: 1 once an encoder computes on one, 0 before that or without one."""
    torch = sys.modules.get("torch")  # what is not loaded holds nothing
    return int(torch is not None and torch.cuda.is_initialized())
