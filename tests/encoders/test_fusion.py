"""Fusion: what the inner products of fused vectors mean."""

import itertools

import numpy as np
import pytest

from encoders.fusion import concatenate, pool, scene_space, unit, weighted_mean

DIMS = {"visual": 7, "audio": 5, "speech": 3}
WEIGHTS = {"visual": 0.5, "audio": 0.2, "speech": 0.3}


def draw(seed, names=DIMS):
    rng = np.random.default_rng(seed)
    return {name: unit(rng.normal(size=DIMS[name])) for name in names}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("names", [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)], ids="+".join)
def test_the_direct_sum_is_a_unit_vector_whatever_is_missing(seed, names):
    fused = concatenate(draw(seed, names), DIMS, WEIGHTS)

    assert fused.shape == (15,)
    assert fused.dtype == np.float32
    assert np.linalg.norm(fused) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("names", [c for n in (1, 2, 3) for c in itertools.combinations(DIMS, n)], ids="+".join)
def test_a_query_meets_the_blocks_that_it_fills(seed, names):
    moment, query = draw(seed), draw(seed + 100, names)

    product = concatenate(moment, DIMS, WEIGHTS) @ concatenate(query, DIMS, WEIGHTS)

    filled = sum(WEIGHTS[name] for name in names)
    expected = sum(WEIGHTS[name] * (moment[name] @ query[name]) for name in names) / np.sqrt(
        filled * sum(WEIGHTS.values())
    )
    assert product == pytest.approx(expected, abs=1e-6)


def test_a_missing_block_none_and_zero_are_the_same():
    blocks = draw(1, ("visual", "speech"))

    absent = concatenate(blocks, DIMS, WEIGHTS)

    assert np.array_equal(absent, concatenate({**blocks, "audio": None}, DIMS, WEIGHTS))
    assert np.array_equal(absent, concatenate({**blocks, "audio": np.zeros(5, np.float32)}, DIMS, WEIGHTS))
    assert not absent[7:12].any()


def test_the_length_of_a_block_does_not_count_only_its_direction():
    blocks = draw(2)

    assert np.allclose(
        concatenate({name: 9 * block for name, block in blocks.items()}, DIMS, WEIGHTS),
        concatenate(blocks, DIMS, WEIGHTS),
    )


def test_nothing_at_all_is_zero():
    assert not concatenate({}, DIMS, WEIGHTS).any()


def test_a_block_of_weight_zero_is_never_met():
    moment = concatenate(draw(3), DIMS, {**WEIGHTS, "audio": 0.0})

    assert not moment[7:12].any()


@pytest.mark.parametrize(
    ("blocks", "weights", "message"),
    [
        ({"visual": np.ones(6, np.float32)}, WEIGHTS, r"shape \(6,\)"),
        ({"smell": np.ones(6, np.float32)}, WEIGHTS, "smell"),
        ({}, {"visual": 1.0, "audio": 1.0}, "speech"),
        ({}, {**WEIGHTS, "audio": -0.1}, "audio"),
        ({}, {**WEIGHTS, "audio": float("nan")}, "audio"),
    ],
)
def test_what_does_not_fit_is_refused(blocks, weights, message):
    with pytest.raises(ValueError, match=message):
        concatenate(blocks, DIMS, weights)


def test_pool_is_the_mean_direction():
    assert np.allclose(pool(np.eye(2, dtype=np.float32)), [2**-0.5, 2**-0.5])
    assert not pool(np.array([[1, 0], [-1, 0]], np.float32)).any()
    with pytest.raises(ValueError, match="at least one"):
        pool(np.zeros((0, 4), np.float32))


def test_weighted_mean_leaves_out_what_is_missing():
    east, north = np.eye(2, dtype=np.float32)

    assert np.allclose(weighted_mean({"visual": east, "speech": None}, WEIGHTS), east)
    assert np.allclose(weighted_mean({"visual": east, "speech": north}, {"visual": 3, "speech": 4}), [0.6, 0.8])
    with pytest.raises(ValueError, match="Nothing to fuse"):
        weighted_mean({"visual": None}, WEIGHTS)
    with pytest.raises(ValueError, match="Nothing to fuse"):
        weighted_mean({"visual": east}, {"visual": 0})


def test_the_space_names_blocks_order_and_ratios():
    spaces = {"visual": "labels-1", "audio": "sounds-1", "speech": "minilm-1"}
    name = scene_space(spaces, WEIGHTS)

    assert name.startswith("scene-visual+audio+speech-")
    assert name == scene_space(spaces, {block: 2 * weight for block, weight in WEIGHTS.items()})
    assert name != scene_space({**spaces, "audio": "sounds-2"}, WEIGHTS)
    assert name != scene_space(spaces, {**WEIGHTS, "audio": 0.21})
    assert name != scene_space(dict(reversed(spaces.items())), WEIGHTS)
