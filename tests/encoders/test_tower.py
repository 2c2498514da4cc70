import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders import precision
from encoders.tower import Tower

DIM, N = 24, 21


class Small(nn.Module):
    """Two layers that scale what is given to them, as towers do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, DIM))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.float() / 255)


class Prepared(Small):
    def prepare(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)[:, :16].float() / 255

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "SECONDS_EACH", 0.0)


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 16), dtype=np.uint8)


def tower(module: nn.Module, items: np.ndarray, batch: int = 8) -> Tower:
    return Tower(module, name="small", dim=DIM, batch=batch, probe=lambda: (items[:4],))


@pytest.mark.parametrize("make", [Small, Prepared])
def test_vectors_are_those_of_the_module_whole_or_alone(make: Callable[[], Small], items: np.ndarray) -> None:
    module = make()
    with torch.no_grad():
        inputs = torch.from_numpy(items)
        wanted = nn.functional.normalize(module(module.prepare(inputs) if make is Prepared else inputs), dim=1)
    encode = tower(module, items)
    vectors = encode(items)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(N), abs=1e-6)
    assert (vectors * wanted.numpy()).sum(axis=1).min() > 0.999
    alone = np.concatenate([encode(item[None]) for item in items])
    assert np.abs(alone - vectors).max() < 1e-3


def test_nothing_is_nothing(items: np.ndarray) -> None:
    assert tower(Small(), items)(items[:0]).shape == (0, DIM)


def test_inputs_may_be_changed_once_they_are_submitted(items: np.ndarray) -> None:
    encode = tower(Small(), items)
    given = items.copy()
    pending = encode.submit(given)
    given[:] = 0
    assert np.array_equal(pending(), encode(items))


def test_read_only_items_and_views_are_encoded_too(items: np.ndarray) -> None:
    encode = tower(Small(), items)
    frozen = items.copy()
    frozen.flags.writeable = False
    assert np.array_equal(encode(frozen), encode(items))
    assert np.array_equal(encode(items[::2]), encode(items[::2].copy()))


class Greedy(Small):
    """Has memory for three items."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3 and self.armed:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x)

    armed = False


def test_out_of_memory_halves_the_batch_and_says_so(
    items: np.ndarray, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "candidates_on_cpu", lambda: ())
    module = Greedy()
    encode = tower(module, items, batch=8)
    wanted = encode(items)
    module.armed = True
    with caplog.at_level(logging.WARNING):
        vectors = encode(items)
    assert np.abs(vectors - wanted).max() < 1e-3
    assert encode.batch == 2
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "small: no memory for 8 at once; going on with 4.",
        "small: no memory for 4 at once; going on with 2.",
    ]
    encode(items)
    assert len(caplog.records) == 2


def test_no_memory_for_one_item_is_an_error(items: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "candidates_on_cpu", lambda: ())
    module = Greedy()
    encode = tower(module, items, batch=1)
    encode(items[:1])
    monkeypatch.setattr(Greedy, "forward", _never)
    with pytest.raises(torch.OutOfMemoryError):
        encode(items[:1])


def _never(self: Any, x: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_tower_that_could_not_be_loaded_is_tried_again(items: np.ndarray) -> None:
    probes = iter([None, items[:4]])
    encode = Tower(Small(), name="small", dim=DIM, batch=8, probe=lambda: (next(probes),))
    with pytest.raises(AttributeError):
        encode(items)
    assert encode(items).shape == (N, DIM)


def test_the_fastest_that_passes_its_gate_is_chosen_and_kept(
    items: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {"float32": 3.0, "bfloat16": 2.0, "int8": 1.0}
    made: list[str] = []
    real = precision.compute

    def compute(module: nn.Module, name: str, probe: Any) -> precision.Compute:
        made.append(name)
        return real(module, name, probe) if name != "int8" else lambda x: module(x).flip(1)

    monkeypatch.setattr(precision, "compute", compute)
    monkeypatch.setattr(precision, "candidates_on_cpu", lambda: ("bfloat16", "int8"))
    timed = iter(costs.values())
    monkeypatch.setattr(precision, "_fastest", lambda run, inputs: next(timed))
    tower(Small(), items)(items)
    kept = json.loads(next((tmp_path / "calibrations").iterdir()).read_text())
    assert kept["chosen"] == "bfloat16"
    assert kept["measured"]["int8"]["seconds"] == 1.0
    assert kept["measured"]["int8"]["cosine"] < 0.99
    made.clear()
    tower(Small(), items)(items)  # another process: nothing is measured again
    assert made == ["bfloat16"]


def test_what_cannot_be_computed_here_is_out(items: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(module: nn.Module, name: str, probe: Any) -> precision.Compute:
        raise RuntimeError("no such runtime")

    monkeypatch.setattr(precision, "compute", compute)
    calibration, chosen = precision.calibrate(module := Small(), [torch.from_numpy(items[:4])], ["int8", "onnx"])
    assert calibration.chosen == "float32"
    assert chosen is module


@pytest.mark.parametrize("name", ["bfloat16", "int8", pytest.param("onnx", marks=pytest.mark.heavy)])
def test_each_precision_keeps_the_vectors(name: str, items: np.ndarray) -> None:
    module = Prepared().eval()
    with torch.inference_mode():
        inputs = module.prepare(torch.from_numpy(items))
        reference = module(inputs)
        computed = precision.compute(module, name, [inputs])
        assert precision.worst_cosine(computed(inputs), reference) >= precision.GATES[name]
        assert precision.worst_cosine(computed(inputs[:1]), reference[:1]) >= precision.GATES[name]


def test_vectors_that_are_no_numbers_pass_no_gate() -> None:
    assert precision.worst_cosine(torch.full((1, 3), torch.nan), torch.ones(1, 3)) == -1
