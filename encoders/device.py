"""Which device the encoders of this process compute on, and what it computes fast; imports torch.

Several GPUs are several processes, one for each: whoever starts them (Ray, or CUDA_VISIBLE_DEVICES) shows each process
its own, which is then the first one here.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch


def best() -> torch.device:
    """Return the first GPU that this process may use, or the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is computed in hardware: up to six times faster then, several times slower if not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@cache
def processor() -> str:
    """Return what the CPU calls itself, as "AMD EPYC 9R14"; what was measured on one holds for its like."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
