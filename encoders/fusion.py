"""Several vectors into one: pure functions over unit vectors.

Where all vectors lie in one space, fusion is a weighted mean. Where they do not, it is their direct sum: one long
vector with a block per space, and each block scaled by the square root of its weight. The inner product of a moment and
a query is then a weighted sum of inner products, block by block, each in its own space:

    moment · query  =  Σ  √(w · w') · (moment's block · query's block)        w and w' as normalised over what is there

A query made of words fills the blocks that words can enter and leaves the others zero, a query made of a picture fills
the picture's: either is compared with all of a moment that it can be compared with, and with nothing else. One index
over the long vectors so answers any mix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Name = TypeVar("Name", bound=str)


def pool(vectors: NDArray[np.float32]) -> Vector:
    """Return the mean direction of vectors, such as those of a shot's frames.

    Args:
        vectors: float32 [N, dim], N at least 1.

    Returns:
        float32 [dim], of unit norm; zero if they cancel out.

    Raises:
        ValueError: there is no vector.
    """
    if not len(vectors):
        raise ValueError("pool needs at least one vector, got none; leave a modality without vectors out instead.")
    return unit(np.asarray(vectors, np.float64).mean(axis=0))


def weighted_mean(vectors: Mapping[Name, Vector | None], weights: Mapping[Name, float]) -> Vector:
    """Fuse vectors of one space; those that are None, or of weight 0, do not count.

    Args:
        vectors: modality → float32 [dim], or None where the moment has none.
        weights: modality → weight, at least 0.

    Returns:
        float32 [dim], of unit norm; zero if the vectors cancel out.

    Raises:
        ValueError: nothing is left to fuse, or a weight is missing or negative.
    """
    _check(vectors, weights)
    present = [weights[name] * np.asarray(v, np.float64) for name, v in vectors.items() if v is not None]
    if not any(weights[name] for name, v in vectors.items() if v is not None):
        raise ValueError(f"Nothing to fuse: of {sorted(vectors)} none has both a vector and a weight above 0.")
    return unit(np.sum(present, axis=0))


def concatenate(
    blocks: Mapping[Name, Vector | None], dims: Mapping[Name, int], weights: Mapping[Name, float]
) -> Vector:
    """Fuse vectors of different spaces: their direct sum, in the order of `dims`.

    Each block is a unit vector times the square root of its weight; one that is None, missing or zero stays zero; the
    whole is made a unit vector again. So a moment without speech is not punished for it: its other blocks count more.

    Args:
        blocks: name → float32 [dim], or None.
        dims: name → dimension, for all blocks that the space has.
        weights: name → weight, at least 0.

    Returns:
        float32 [sum of dims], of unit norm; zero if every block is.

    Raises:
        ValueError: a block has another dimension, no place, or no weight.
    """
    if strays := sorted(set(blocks) - set(dims)):
        raise ValueError(
            f"The space has blocks {sorted(dims)}, got also {strays}; give their dimensions, or leave them out."
        )
    _check(dims, weights)
    parts = []
    for name, dim in dims.items():
        block = blocks.get(name)
        if block is not None and np.shape(block) != (dim,):
            raise ValueError(f"Block {name} has shape {np.shape(block)}, the space wants ({dim},).")
        part = np.zeros(dim) if block is None else unit(block).astype(np.float64)
        parts.append(np.sqrt(weights[name]) * part)
    return unit(np.concatenate(parts)) if parts else np.zeros(0, np.float32)


def scene_space(spaces: Mapping[Name, str], weights: Mapping[Name, float]) -> str:
    """Name the space of `concatenate`: it changes with any block's space, with their order and with the weights.

    Args:
        spaces: block → name of its space, in the order of the blocks.
        weights: block → weight; only their ratios count.
    """
    _check(spaces, weights)
    whole = sum(weights[name] for name in spaces) or 1.0
    recipe = "|".join(f"{name}={space}*{weights[name] / whole:.6f}" for name, space in spaces.items())
    return f"scene-{'+'.join(spaces)}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def unit(vector: NDArray[np.floating]) -> Vector:
    """Return the vector at unit norm, float32; zero stays zero."""
    exact = np.asarray(vector, np.float64)
    norm = float(np.linalg.norm(exact))
    return (exact / norm if norm > 1e-12 else np.zeros_like(exact)).astype(np.float32)


def _check(names: Mapping[Name, object], weights: Mapping[Name, float]) -> None:
    for name in names:
        if not weights.get(name, -1.0) >= 0:
            raise ValueError(
                f"Fusion weight of {name} is {weights.get(name)}; give each of {sorted(names)} one of at least 0."
            )
