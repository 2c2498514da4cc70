"""A torch module over many items: in batches, in the fastest precision that keeps its vectors; imports torch.

A module takes tensors with a leading batch dimension, as they were given, and returns [N, dim]; it normalises its input
itself, on the device. It may have a method `prepare`, which gets the inputs, of any height and width, and returns in
float32 what `forward` takes, always of one shape and without any weights: then only `forward` is cast to 16 bits,
captured and compiled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders import device as devices
from encoders import precision
from encoders.spec import Vectors

Arrays = tuple[NDArray[Any], ...]
Pending = Callable[[], NDArray[Any]]
"""Waits for vectors that are being computed, and returns them: [N, dim]."""
_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Computes batches on one device."""

    def start(self, inputs: Arrays, n_full: int) -> Pending:
        """Begin with a batch of at most `n_full` items, the number that most batches have."""
        ...

    def release(self) -> None:
        """Give back memory that is only kept for speed."""
        ...


class Tower:
    """A torch module on the best device of this process, in the fastest precision that keeps its vectors.

    Nothing is put on the device, and nothing calibrated, before the first call. May be called from several threads.
    The vectors of an item are the same alone and in a batch, within 1e-3. Where the device's memory does not hold a
    batch, it is halved for all that follows, and the log says so.
    """

    def __init__(
        self, module: nn.Module, *, name: str, dim: int, batch: int, probe: Callable[[], tuple[NDArray[Any], ...]]
    ) -> None:
        """Take over a module.

        Args:
            module: with its weights in float32; it belongs to the tower from now on.
            name: of the module and its weights, for what is measured once and kept; a space's name will do.
            dim: of its vectors.
            batch: the most items at once.
            probe: makes a few typical inputs, by which precisions are compared.
        """
        self._module: nn.Module | None = module.eval().requires_grad_(requires_grad=False)
        self._name, self._dim, self._probe = name, dim, probe
        self.batch = batch
        """Items at once; less than given once memory ran out."""
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def __call__(self, *inputs: NDArray[Any]) -> Vectors:
        """Encode N items.

        Args:
            *inputs: each [N, ...], of any type that torch has.

        Returns:
            float32 [N, dim], each row of unit norm.

        Raises:
            torch.OutOfMemoryError: not even one item fits into the device's memory.
        """
        return self.submit(*inputs)()

    def submit(self, *inputs: NDArray[Any]) -> Callable[[], Vectors]:
        """Begin to encode N items, as a call does; return a function that waits for the vectors.

        On a GPU this returns when the last batch is on its way, so the next items can be made ready meanwhile. The
        inputs may be changed once it has returned.
        """
        n, start = len(inputs[0]), 0
        parts: list[Pending] = []
        with self._lock:
            engine = self._engine = self._engine or self._load()
            while start < n:
                stop = min(start + self.batch, n)
                try:
                    parts.append(engine.start(tuple(x[start:stop] for x in inputs), self.batch))
                    start = stop
                    continue
                except torch.OutOfMemoryError:
                    if self.batch == 1:
                        raise
                self._halve(engine)  # here the error is gone, and the tensors that it held
        return lambda: _unit([part() for part in parts], self._dim)

    def _halve(self, engine: Engine) -> None:
        engine.release()
        _log.warning("%s: no memory for %d at once; going on with %d.", self._name, self.batch, self.batch // 2)
        self.batch //= 2

    def _load(self) -> Engine:
        module, self._module = self._module, None
        if module is None:
            raise RuntimeError(f"{self._name} could not be loaded before; see the first error.")
        try:
            if devices.best().type == "cuda":
                from encoders.gpu_engine import GpuEngine

                return GpuEngine(module, self._name, self._probe())
            return CpuEngine(module, self._name, self._probe)
        except BaseException:
            self._module = module
            raise


class CpuEngine:
    """Batches as they are: the CPU gains nothing by fixed shapes."""

    def __init__(self, module: nn.Module, name: str, probe: Callable[[], Arrays]) -> None:
        self._prepare = getattr(module, "prepare", _as_they_are)
        with torch.inference_mode():
            self._compute = precision.choose_on_cpu(module, name, lambda: self._prepared(probe()))
        if self._compute is not module:
            module.to("meta")  # `prepare` needs none of the weights

    @torch.inference_mode()
    def start(self, inputs: Arrays, n_full: int) -> Pending:  # noqa: ARG002
        """Compute a batch to its end."""
        vectors: NDArray[Any] = self._compute(*self._prepared(inputs)).float().numpy()
        return lambda: vectors

    def release(self) -> None:
        """Do nothing: nothing is kept."""

    def _prepared(self, inputs: Arrays) -> tuple[Tensor, ...]:
        tensors = (torch.from_numpy(x if x.flags.writeable else x.copy()) for x in inputs)
        return as_tuple(self._prepare(*tensors))


def as_tuple(prepared: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what `prepare` returned as the arguments of `forward`."""
    return prepared if isinstance(prepared, tuple) else (prepared,)


def _as_they_are(*inputs: Tensor) -> tuple[Tensor, ...]:
    return inputs


def _unit(parts: Sequence[NDArray[Any]], dim: int) -> Vectors:
    vectors = np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, dim), np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
