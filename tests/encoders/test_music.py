"""The music taggers: our fast way through the network gives what the plain way gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from encoders import music, weights
from encoders.packages import pull


def random_variables(seed=0):
    """Variables of a network of the right shape, named as TensorFlow names them."""
    rng = np.random.default_rng(seed)
    kernels = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)]
    kernels += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    channels = [1, *(kernel[3] for kernel in kernels), 1506, 200]
    variables = {}
    for number, kernel in enumerate(kernels):
        name = f"conv2d_{number}" if number else "conv2d"
        variables[f"{name}/kernel"] = rng.normal(0, np.prod(kernel[:3]) ** -0.5, kernel)
        variables[f"{name}/bias"] = rng.normal(0, 0.1, kernel[3])
    for number, size in enumerate(channels):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        variables[f"{name}/gamma"] = rng.normal(0, 1, size)  # of either sign
        variables[f"{name}/beta"] = rng.normal(0, 0.1, size)
        variables[f"{name}/moving_mean"] = rng.normal(0, 0.1, size)
        variables[f"{name}/moving_variance"] = rng.uniform(0.5, 2, size)
    for name, shape in (("dense", (1506, 200)), ("dense_1", (200, 50))):
        variables[f"{name}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape)
        variables[f"{name}/bias"] = rng.normal(0, 0.1, shape[1])
    return {name: torch.from_numpy(np.asarray(array, np.float32)) for name, array in variables.items()}


def plainly(variables, spectra):
    """Go through the network as it was published, one operation after the other."""

    def norm(x, number):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        mean, variance, scale, shift = (
            variables[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    def conv(x, number):
        name = f"conv2d_{number}" if number else "conv2d"
        kernel = variables[f"{name}/kernel"].permute(3, 2, 0, 1)
        taps = kernel.shape[2]
        return functional.conv2d(
            functional.pad(x, (0, 0, (taps - 1) // 2, taps // 2)), kernel, variables[f"{name}/bias"]
        )

    x = norm(spectra[:, None], 0)
    front = torch.cat([norm(functional.relu(conv(x, n)), n + 1).amax(3) for n in range(5)], 1)
    layers = [front]
    for number in (5, 6, 7):
        seen = functional.relu(conv(layers[-1].transpose(1, 2)[:, None], number))
        found = norm(seen, number + 1)[..., 0]
        layers.append(found + layers[-1] if number > 5 else found)
    everything = torch.cat(layers, 1)
    pooled = torch.stack([everything.amax(2), everything.mean(2)], 2).flatten(1)
    hidden = functional.relu(norm(pooled, 9) @ variables["dense/kernel"] + variables["dense/bias"])
    features = norm(hidden, 10)
    return torch.sigmoid(features @ variables["dense_1/kernel"] + variables["dense_1/bias"]), features


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)], ids=["float32", "bfloat16"]
)
def test_the_fast_way_gives_what_the_plain_way_gives(monkeypatch, dtype, tolerance):
    monkeypatch.setattr(music, "_fast_type", lambda: dtype)
    variables = random_variables()
    spectra = torch.rand(3, music.PATCH_FRAMES, 96, generator=torch.Generator().manual_seed(1)) * 3

    with torch.inference_mode():
        tags, features = music._Network(variables)(spectra)
        expected_tags, expected_features = plainly(variables, spectra)

    assert tags.shape == (3, 50)
    assert torch.allclose(tags, expected_tags, atol=tolerance / 4)
    assert torch.allclose(features, expected_features, atol=tolerance)


def test_the_spectrum_is_the_published_one(monkeypatch):
    """96 bands of equal area on Slaney's scale, from 0 to 8 kHz, of the power of 32 ms every 16 ms."""
    monkeypatch.setattr(music, "_variables", lambda name: random_variables())
    tagger = music.MusicTagger()
    seconds = np.arange(music.PATCH_SAMPLES) / music.RATE_HZ
    tone = torch.from_numpy(np.sin(2 * np.pi * 1000 * seconds).astype(np.float32))

    power = tagger._mel(tone)

    assert power.shape == (96, music.PATCH_FRAMES + 1)
    assert power[:, 50].argmax() == 31  # Slaney's scale is linear up to 1 kHz, where it has 15 of its 45.2 mels
    assert music._patches(np.zeros(0, np.float32))[0].shape == (music.PATCH_SAMPLES,)


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.0, 1), (0.1, 1), (2.9, 1), (3.1, 1), (5.0, 1), (6.0, 2), (10.0, 2), (30.0, 6)]
)
def test_patches_cover_the_sound(seconds, count):
    sound = np.arange(round(seconds * music.RATE_HZ), dtype=np.float32)

    patches = music._patches(sound)

    assert len(patches) == count
    assert all(patch.shape == (music.PATCH_SAMPLES,) for patch in patches)
    if len(sound) >= music.PATCH_SAMPLES and count > 1:
        assert patches[0][0] == 0
        assert patches[-1][-1] == sound[-1]


def test_a_sound_has_the_same_tags_alone_and_in_a_batch(monkeypatch):
    monkeypatch.setattr(music, "_variables", lambda name: random_variables(len(name)))
    rng = np.random.default_rng(2)
    tagger = music.MusicTagger()
    sounds = [rng.normal(0, 0.1, round(s * music.RATE_HZ)).astype(np.float32) for s in (0.3, 4, 12)]

    together = tagger.tag(sounds)

    assert together.mtt.shape == together.msd.shape == (3, 50)
    assert together.features.shape == (3, 400)
    for number, sound in enumerate(sounds):
        alone = tagger.tag([sound])
        assert np.abs(alone.features[0] - together.features[number]).max() < 1e-3
    assert tagger.tag([]).features.shape == (0, 400)


def test_the_published_weights_know_a_piano_from_noise():
    pull(weights.MUSICNN)
    seconds = np.arange(6 * music.RATE_HZ) / music.RATE_HZ
    notes = np.zeros_like(seconds)
    for number, hertz in enumerate([262, 330, 392, 523, 392, 330] * 4):
        after = np.maximum(0, seconds - number / 4)
        struck = np.exp(-4 * after) * (after > 0)
        notes += struck * sum(np.sin(2 * np.pi * hertz * k * after) / k**2 for k in range(1, 6))
    noise = np.random.default_rng(0).normal(0, 0.1, len(seconds))

    tagged = music.MusicTagger().tag([(notes / np.abs(notes).max()).astype(np.float32), noise.astype(np.float32)])

    piano = tagged.mtt[:, music.MTT_TAGS.index("piano")]
    assert piano[0] > 0.2 > piano[1]
