"""In which precision a module is computed: the fastest that keeps its vectors; imports torch.

A candidate counts if its vectors of a probe point where those in float32 do: by a cosine of at least 0.999 for 16 bits
and 0.99 for 8 bits, in the worst row. So the precision that a machine chose is no part of a space's name. On the CPU
the faster one is found by calibration, which takes about a second; its result is kept in the cache.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from encoders import device as devices
from encoders.packages import cache_directory

Compute = Callable[..., Tensor]
"""Tensors of a batch → [N, dim], of any floating type, of any norm."""

GATES: Mapping[str, float] = {"float32": 1.0, "bfloat16": 0.999, "float16": 0.999, "onnx": 0.999, "int8": 0.99}
"""The least cosine with the vectors in float32."""
SECONDS_EACH = 0.25
"""That a candidate is timed; the first run of each is not counted."""
_REVISION = 1
"""Counted up when the candidates change: what was measured before is then measured again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """How a candidate did on the probe."""

    seconds: float
    """Of the processor, all threads together, for one run: the fastest."""
    cosine: float
    """With float32, of the row that is furthest off."""


@dataclass(frozen=True)
class Calibration:
    """What was measured on this kind of machine, and what follows."""

    chosen: str
    measured: Mapping[str, Measured]


def compute(module: nn.Module, precision: str, probe: Sequence[Tensor]) -> Compute:
    """Return a function that computes the module in a precision, a key of `GATES`.

    The module is left as it is. One that has a method `prepare` is cast as a whole, since its inputs are then known to
    be prepared in float32 elsewhere; any other only where autocast would do so.

    Args:
        module: in float32, in evaluation.
        precision: its name.
        probe: inputs, for what has to be traced.
    """
    if precision == "float32":
        return module
    if precision == "int8":
        return _quantised(module)
    if precision == "onnx":
        from encoders.onnx_export import runs_in_onnxruntime

        return runs_in_onnxruntime(module, probe)
    return _cast(module, torch.bfloat16 if precision == "bfloat16" else torch.float16)


def choose_on_cpu(module: nn.Module, name: str, probe: Callable[[], Sequence[Tensor]]) -> Compute:
    """Return the module in the precision that is the fastest on this processor, as measured now or before.

    Args:
        module: in float32, in evaluation, on the CPU.
        name: of the module and its weights; the calibration is kept under it.
        probe: makes a few typical inputs.
    """
    path = _kept_at(name)
    inputs = probe()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        chosen = str(json.loads(path.read_text("utf8"))["chosen"])
        return compute(module, chosen, inputs)
    calibration, chosen_compute = calibrate(module, inputs)
    _keep(path, name, calibration)
    return chosen_compute


def candidates_on_cpu() -> tuple[str, ...]:
    """Return what is worth a try: bfloat16 where it is in hardware, else integers and the other runtime."""
    return ("bfloat16",) if devices.computes_in_bfloat16(torch.device("cpu")) else ("int8", "onnx")


def calibrate(
    module: nn.Module, inputs: Sequence[Tensor], candidates: Sequence[str] | None = None
) -> tuple[Calibration, Compute]:
    """Measure candidates on a probe; return what was measured and the fastest that passes its gate.

    What cannot be computed here at all, for lack of a library or of memory, is out, and the log says so.
    """
    reference = module(*inputs).float()
    seconds = _fastest(module, inputs)
    measured = {"float32": Measured(seconds, 1.0)}
    best: Compute = module
    for name in candidates_on_cpu() if candidates is None else candidates:
        try:
            candidate = compute(module, name, inputs)
            cosine = worst_cosine(candidate(*inputs), reference)
            measured[name] = Measured(_fastest(candidate, inputs), cosine)
        except Exception as exc:
            _log.info("%s is not tried on this machine: %s", name, exc)
            continue
        if cosine >= GATES[name] and measured[name].seconds < seconds:
            best, seconds = candidate, measured[name].seconds
    passed = {name: m.seconds for name, m in measured.items() if m.cosine >= GATES[name]}
    return Calibration(min(passed, key=passed.__getitem__), measured), best


def choose_on_gpu(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[str, Compute]:
    """Return a 16-bit precision if its vectors pass the gate on this probe, which is on the GPU like the module.

    Nothing is timed: 16 bits are the faster ones on every GPU that computes in them.
    """
    bfloat16 = devices.computes_in_bfloat16(torch.device("cuda"))
    name = "bfloat16" if bfloat16 else "float16"
    candidate = compute(module, name, inputs)
    cosine = worst_cosine(candidate(*inputs), module(*inputs).float())
    if cosine >= GATES[name]:
        return name, candidate
    _log.warning("In %s the vectors are off (cosine %.4f), so they are computed in float32.", name, cosine)
    return "float32", module


def worst_cosine(vectors: Tensor, reference: Tensor) -> float:
    """Return the least cosine of rows of the same number; NaN counts as -1."""
    cosines = F.cosine_similarity(vectors.double(), reference.double(), dim=1)
    return float(cosines.nan_to_num(nan=-1.0).min().clamp(max=1.0))


def _cast(module: nn.Module, dtype: torch.dtype) -> Compute:
    own = copy.deepcopy(module)
    if hasattr(module, "prepare"):
        own.to(dtype)
        return lambda *inputs: own(*(x.to(dtype) if x.is_floating_point() else x for x in inputs))
    for part in own.modules():  # in advance what autocast would cast again in every call
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            part.to(dtype)

    def run(*inputs: Tensor) -> Tensor:
        with torch.autocast(inputs[0].device.type, dtype=dtype):
            vectors: Tensor = own(*inputs)
        return vectors

    return run


def _quantised(module: nn.Module) -> Compute:
    """Return the module with linear layers in 8-bit integers: weights by channel, activations by batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the function deprecated and has no other for eager modules
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        own: Compute = quantize_dynamic(module, {nn.Linear: per_channel_dynamic_qconfig})  # type: ignore[no-untyped-call]
    return own


def _fastest(run: Compute, inputs: Sequence[Tensor]) -> float:
    """Return the seconds of the fastest run within a quarter of a second; at least one is timed.

    Seconds of the processor, of all threads: what is chosen on a busy machine is kept, and has to be right later.
    """
    runs: list[float] = []
    until = time.perf_counter() + SECONDS_EACH
    while not runs or time.perf_counter() < until:
        began = time.process_time()
        run(*inputs)
        runs.append(time.process_time() - began)
    return min(runs)


def _kept_at(name: str) -> Path:
    facts = [name, devices.processor(), torch.__version__, str(torch.get_num_threads()), str(_REVISION)]
    return cache_directory() / "calibrations" / f"{hashlib.sha256('|'.join(facts).encode()).hexdigest()[:16]}.json"


def _keep(path: Path, name: str, calibration: Calibration) -> None:
    """Write what was measured; a cache that cannot be written costs the next process a second."""
    facts = {"module": name, "processor": devices.processor(), "torch": torch.__version__} | asdict(calibration)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".calibration-")
        with os.fdopen(handle, "w", encoding="utf8") as file:
            json.dump(facts | {"threads": torch.get_num_threads()}, file)
        Path(scratch).replace(path)
