"""Music taggers: the two musicnn networks (Pons and Serra, 2019), built here and filled from their checkpoints.

Each looks at three seconds of sound as a log-mel spectrogram. Tall filters see timbre, long filters see tempo; what
they find is pooled over time and weighed for 50 tags. One network learnt MagnaTagATune (instruments, voices, pace),
the other the Million Song Dataset (genres, moods, decades).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders import weights
from encoders.checkpoint import read_tensors
from encoders.packages import locate

RATE_HZ = 16000
HOP_SAMPLES = 256
PATCH_FRAMES = 187
PATCH_SAMPLES = PATCH_FRAMES * HOP_SAMPLES
_BANDS = 96
SECONDS_PER_PATCH = 5.0
"""A patch of three seconds speaks for five, which nearly halves the work; tags change more slowly than that."""
_PATCHES_PER_CALL = 16  # bounds the memory: a patch's widest activation takes 9 MB in float32

# fmt: off
MTT_TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)
MSD_TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock",
    "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow",
    "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient",
    "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening",
    "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House",
    "happy",
)
# fmt: on


@dataclass(frozen=True)
class Tagged:
    """What the two networks say of N stretches of sound."""

    mtt: NDArray[np.float32]
    """float32 [N, 50], the probability of each of MTT_TAGS; a stretch may have many."""
    msd: NDArray[np.float32]
    """float32 [N, 50], the same for MSD_TAGS."""
    features: NDArray[np.float32]
    """float32 [N, 400], what the tags are weighed from: the layer before the last, of both networks."""


class MusicTagger:
    """Both networks, ready to look at sound."""

    def __init__(self) -> None:
        self._mel = torchaudio.transforms.MelSpectrogram(
            RATE_HZ, 512, hop_length=HOP_SAMPLES, n_mels=_BANDS, norm="slaney", mel_scale="slaney"
        )
        self._networks = [_Network(_variables(name)) for name in ("MTT", "MSD")]

    @torch.inference_mode()
    def tag(self, windows: Sequence[NDArray[np.float32]]) -> Tagged:
        """Tag stretches of mono sound, float32 [T], in [-1, 1], at RATE_HZ.

        A stretch is looked at in patches of three seconds and the patches' answers are averaged; one that is shorter is
        repeated, as in training.
        """
        cut = [_patches(window) for window in windows]
        flat = [patch for patches in cut for patch in patches]
        parts = [self._answers(flat[i : i + _PATCHES_PER_CALL]) for i in range(0, len(flat), _PATCHES_PER_CALL)]
        answers = torch.cat([torch.zeros(0, 500), *parts])
        means = [part.mean(0) for part in torch.split(answers, [len(patches) for patches in cut])] if cut else []
        mean = (torch.stack(means) if means else answers).numpy()
        return Tagged(mtt=mean[:, :50], msd=mean[:, 50:100], features=mean[:, 100:])

    def _answers(self, patches: Sequence[NDArray[np.float32]]) -> Tensor:
        """Return float32 [P, 500]: tags and tags, features and features, of P patches [47872]."""
        power = self._mel(torch.from_numpy(np.stack(patches)))[..., :PATCH_FRAMES]
        spectra = torch.log10(10000 * power + 1).transpose(1, 2)
        (mtt, mtt_features), (msd, msd_features) = (network(spectra) for network in self._networks)
        return torch.cat([mtt, msd, mtt_features, msd_features], 1)


def _patches(window: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Take patches of PATCH_SAMPLES, spread evenly over the sound, one for each SECONDS_PER_PATCH begun."""
    if len(window) <= PATCH_SAMPLES:
        return [np.resize(window, PATCH_SAMPLES) if len(window) else np.zeros(PATCH_SAMPLES, np.float32)]
    count = -(-len(window) // int(SECONDS_PER_PATCH * RATE_HZ))
    slack = len(window) - PATCH_SAMPLES
    starts = np.linspace(0, slack, count).astype(int) if count > 1 else [slack // 2]
    return [window[start : start + PATCH_SAMPLES] for start in starts]


class _Network:
    """One musicnn. The numbers of its layers are those that TensorFlow gave them."""

    def __init__(self, variables: Mapping[str, Tensor]) -> None:
        self._norms = [_affine(variables, number) for number in range(11)]
        self._timbre = [_Filters(variables, number) for number in (0, 1)]
        self._tempo = [_Filters(variables, number) for number in (2, 3, 4)]
        self._middle = [_flat_kernel(variables, number) for number in (5, 6, 7)]
        self._dense, self._output = (
            (variables[f"{name}/kernel"].T.contiguous(), variables[f"{name}/bias"]) for name in ("dense", "dense_1")
        )

    def __call__(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Return tag probabilities [P, 50] and features [P, 200] of log-mel spectra float32 [P, 187, 96]."""
        norms = iter(self._norms)
        x = _scaled(spectra[:, None], next(norms))[:, 0]
        found = [filters(x) for filters in (*self._timbre, *self._tempo)]
        layers = [torch.cat([_scaled(part, next(norms)) for part in found], 1)]  # [P, 561, 187]
        for number, (kernel, bias) in enumerate(self._middle):
            part = _scaled(functional.relu(functional.conv1d(layers[-1], kernel, bias, padding=3)), next(norms))
            layers.append(part + layers[-1] if number else part)
        seen = torch.cat(layers, 1)
        pooled = torch.stack([seen.amax(2), seen.mean(2)], 2).flatten(1)  # maximum and mean alternate
        hidden = functional.relu(functional.linear(_scaled(pooled, next(norms)), *self._dense))
        features = _scaled(hidden, next(norms))
        return torch.sigmoid(functional.linear(features, *self._output)), features


class _Filters:
    """Filters of the front: slid over time and bands; of each one's answers, the strongest over the bands is kept.

    Rectifying, and the normalisation behind it, are monotone in a filter's answer, so the strongest can be picked of
    the bare answers, and all else be done on what is left. Where the normalisation turns the sign around, the strongest
    is the smallest: such filters are kept negated, and `_sign` says which.
    """

    def __init__(self, variables: Mapping[str, Tensor], number: int) -> None:
        name = _numbered("conv2d", number)
        kernel = variables[f"{name}/kernel"][:, :, 0]  # [taps, bands, filters]
        self._sign = torch.where(variables[f"{_numbered('batch_normalization', number + 1)}/gamma"] < 0, -1.0, 1.0)
        self._bias = variables[f"{name}/bias"]
        # A filter over time alone sees its taps as channels, one over bands too its bands: many channels multiply fast.
        self._over_time = kernel.shape[1] == 1
        weight = (kernel * self._sign).to(_fast_type())
        channels = weight.permute(2, 0, 1)[..., None] if self._over_time else weight.permute(2, 1, 0)[..., None]
        self._weight = channels.contiguous(memory_format=torch.channels_last)
        before = (kernel.shape[0] - 1) // 2
        self._pad = (0, 0, before, kernel.shape[0] - 1 - before)  # TensorFlow puts the odd frame behind

    def __call__(self, spectra: Tensor) -> Tensor:
        """Return float32 [P, filters, T] of spectra float32 [P, T, bands]."""
        padded = functional.pad(spectra.to(self._weight.dtype), self._pad)
        seen = padded.unfold(1 if self._over_time else 2, self._weight.shape[1], 1).permute(0, 3, 1, 2)
        found = functional.conv2d(seen.contiguous(memory_format=torch.channels_last), self._weight)
        strongest = found.permute(0, 2, 3, 1).amax(2).float()  # channels last in memory, so this reads it in order
        return functional.relu(strongest * self._sign + self._bias).transpose(1, 2)


def _variables(network: str) -> dict[str, Tensor]:
    files = locate(weights.MUSICNN)
    home = f"musicnn/{network}_musicnn"
    tensors = read_tensors(files[f"{home}/.index"], files[f"{home}/.data-00000-of-00001"], lambda v: "Adam" not in v)
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}


def _numbered(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer


def _flat_kernel(variables: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution over [P, channels, T]; TensorFlow's kernel is [7, channels, 1, 64]."""
    name = _numbered("conv2d", number)
    return variables[f"{name}/kernel"][:, :, 0].permute(2, 1, 0).contiguous(), variables[f"{name}/bias"]


def _affine(variables: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return what a batch normalisation does at rest: a scale and a shift for each channel."""
    name = _numbered("batch_normalization", number)
    scale = variables[f"{name}/gamma"] / torch.sqrt(variables[f"{name}/moving_variance"] + 1e-3)  # TensorFlow's epsilon
    return scale, variables[f"{name}/beta"] - variables[f"{name}/moving_mean"] * scale


def _scaled(x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    """Scale and shift the channels of x, which are its second axis."""
    scale, shift = (part.view(-1, *[1] * (x.ndim - 2)) for part in affine)
    return x * scale + shift


@cache
def _fast_type() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware: three times as fast, and tags stay within 0.01."""
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
