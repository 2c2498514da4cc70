"""Batches on a GPU: copied while others are computed, captured and compiled where the job is long; imports torch.

Three batches are on their way at once: one is copied into pinned memory, one to the device on a stream of its own, one
is computed. Vectors come back as float16, of unit norm, without waiting for them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders import device as devices
from encoders import precision

Arrays = tuple[NDArray[Any], ...]

N_SLOTS = 3
CAPTURE_AFTER = 8
"""Full batches of one shape after which their kernels are captured in a CUDA graph, which takes less than a second."""
COMPILE_AFTER = 256
"""Full batches of one shape after which the module is compiled: that takes half a minute and up, and a job of so many
batches will have many more."""
_log = logging.getLogger(__name__)


class GpuEngine:
    """A module on the GPU."""

    def __init__(self, module: nn.Module, name: str, probe: Arrays) -> None:
        self._device, self._name = devices.best(), name
        self._prepare: Callable[..., Any] | None = getattr(module, "prepare", None)
        self._slots = [_Slot(self._device) for _ in range(N_SLOTS)]
        self._turn = 0
        self._copies = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.inference_mode():
            inputs = self._prepared(tuple(torch.from_numpy(x.copy()).to(self._device) for x in probe))
            on_gpu = copy.deepcopy(module).to(self._device)
            self.precision, self._compute = precision.choose_on_gpu(on_gpu, inputs)
        module.to("meta")  # `prepare` needs none of the weights
        self._plans: dict[tuple[torch.Size, ...], _Plan] = {}

    @torch.inference_mode()
    def start(self, inputs: Arrays, n_full: int) -> Callable[[], NDArray[Any]]:
        """Begin with a batch; its vectors, float16 [N, dim], are waited for by the function returned."""
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % N_SLOTS
        n, stream = len(inputs[0]), torch.cuda.current_stream(self._device)
        tensors = slot.take(inputs, self._copies)
        stream.wait_event(slot.copied)
        prepared = tuple(_padded(x, _rows(n, n_full)) for x in self._prepared(tensors))
        vectors = self._run(prepared, full=n == n_full)[:n]
        slot.consumed.record(stream)
        result = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        result.copy_(vectors, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(stream)

        def wait() -> NDArray[Any]:
            done.synchronize()
            return result.numpy()

        return wait

    def release(self) -> None:
        """Forget graphs and buffers, and give their memory back."""
        torch.cuda.synchronize(self._device)
        self._plans.clear()
        for slot in self._slots:
            slot.forget()
        torch.cuda.empty_cache()

    def _prepared(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        prepared = self._prepare(*tensors) if self._prepare else tensors
        return prepared if isinstance(prepared, tuple) else (prepared,)

    def _run(self, inputs: tuple[Tensor, ...], *, full: bool) -> Tensor:
        if not full:
            return _finished(self._compute, inputs)
        shapes = tuple(x.shape for x in inputs)
        plan = self._plans.setdefault(shapes, _Plan(self._compute, self._name))
        return plan(inputs)


class _Slot:
    """A batch's place in pinned memory and on the device; a place is as large as the largest batch was."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.copied, self.consumed = torch.cuda.Event(), torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._places: list[tuple[Tensor, Tensor]] = []

    def take(self, inputs: Arrays, copies: torch.cuda.Stream) -> tuple[Tensor, ...]:
        """Copy arrays into pinned memory, and from there to the device when what was there is consumed."""
        self.copied.synchronize()  # the host may overwrite what has gone over
        tensors = []
        for i, x in enumerate(inputs):
            if i == len(self._places) or len(self._places[i][0]) < x.nbytes:
                self._places[i : i + 1] = [self._place(x.nbytes)]
            host, device = (_view(place, x) for place in self._places[i])
            if x.flags.writeable and x.flags.c_contiguous:
                host.copy_(torch.from_numpy(x))  # by several threads
            else:
                host.numpy()[...] = x
            with torch.cuda.stream(copies):
                if i == 0:
                    copies.wait_event(self.consumed)
                device.copy_(host, non_blocking=True)
            tensors.append(device)
        self.copied.record(copies)
        return tuple(tensors)

    def forget(self) -> None:
        self._places.clear()

    def _place(self, n_bytes: int) -> tuple[Tensor, Tensor]:
        torch.cuda.synchronize(self._device)  # once a shape: the place before it may be in use
        host = torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True)
        return host, torch.empty(n_bytes, dtype=torch.uint8, device=self._device)


class _Plan:
    """How full batches of one shape are computed: eagerly, then as a CUDA graph, then as a graph of compiled code."""

    def __init__(self, compute: precision.Compute, name: str) -> None:
        self._eager, self._name = compute, name
        self._graph: Callable[[tuple[Tensor, ...]], Tensor] | None = None
        self._n_seen = 0
        self.how = "eager"

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        self._n_seen += 1
        if self._n_seen == CAPTURE_AFTER + 1:
            self._replace("captured", lambda: _captured(self._eager, inputs))
        if self._n_seen == COMPILE_AFTER + 1:
            self._replace("compiled", lambda: _captured(compiled(self._eager), inputs))
        return self._graph(inputs) if self._graph else _finished(self._eager, inputs)

    def _replace(self, what: str, make: Callable[[], Callable[[tuple[Tensor, ...]], Tensor]]) -> None:
        """Go on with something faster if it can be made here."""
        try:
            self._graph = make()
            self.how = what
        except torch.OutOfMemoryError:
            _log.warning("%s: no memory to be %s; it goes on as it is.", self._name, what)
            torch.cuda.empty_cache()
        except Exception as exc:
            _log.warning("%s cannot be %s here and goes on as it is: %s", self._name, what, str(exc).split("\n")[0])


def compiled(compute: precision.Compute) -> precision.Compute:
    """Return the computation with its element-wise parts fused, for one shape."""
    made: precision.Compute = torch.compile(compute, dynamic=False)
    return made


def _captured(compute: precision.Compute, inputs: tuple[Tensor, ...]) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return the computation as a CUDA graph: one launch in place of hundreds."""
    held = tuple(x.clone() for x in inputs)
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):  # libraries allocate, and compilers compile, in their first calls
            _finished(compute, held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        vectors = _finished(compute, held)

    def replay(inputs: tuple[Tensor, ...]) -> Tensor:
        for place, x in zip(held, inputs, strict=True):
            place.copy_(x)
        graph.replay()
        return vectors

    return replay


def _finished(compute: precision.Compute, inputs: tuple[Tensor, ...]) -> Tensor:
    return F.normalize(compute(*inputs).float(), dim=1).half()


def _rows(n: int, n_full: int) -> int:
    """Return a power of two that holds n, or a full batch: few shapes, and at most half of one is padding."""
    return min(1 << (n - 1).bit_length(), n_full)


def _padded(x: Tensor, n: int) -> Tensor:
    """Return n rows: those that there are, and the last one again; unlike zeros it is surely valid."""
    return x if len(x) == n else torch.cat([x, x[-1:].expand(n - len(x), *x.shape[1:])])


def _view(place: Tensor, like: NDArray[Any]) -> Tensor:
    dtype = torch.from_numpy(np.empty(0, like.dtype)).dtype
    return place[: like.nbytes].view(dtype).view(like.shape)
