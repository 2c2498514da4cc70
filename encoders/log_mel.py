"""Sound into what Whisper sees: log-mel spectrograms, computed on the device that the model is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.voice import RATE_HZ

if TYPE_CHECKING:
    import torch

N_FFT, HOP = 400, 160
FRAMES_PER_SECOND = RATE_HZ // HOP


class LogMel:
    """Log-mel spectrograms as Whisper was trained on: 25 ms windows each 10 ms, Slaney's mel scale up to 8 kHz."""

    def __init__(self, n_mels: int, device: str) -> None:
        import torch

        self._filters = torch.from_numpy(mel_filters(n_mels)).to(device)
        self._window = torch.hann_window(N_FFT, device=device)

    def __call__(self, sounds: torch.Tensor) -> torch.Tensor:
        """Return float32 [B, n_mels, T / 160] of sound, float32 [B, T], in [-1, 1] at 16 kHz; T a multiple of 160.

        The quietest 80 dB below each sound's loudest are one.
        """
        import torch

        spectrum = torch.stft(sounds, N_FFT, HOP, window=self._window, return_complex=True)[..., :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        log = (self._filters @ power).clamp_min(1e-10).log10()
        return (torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0


def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area, float32 [n_mels, 201]: linear below 1 kHz, logarithmic above."""
    edges = _hertz(np.linspace(0.0, _mel(RATE_HZ / 2), n_mels + 2))
    bins = np.linspace(0.0, RATE_HZ / 2, N_FFT // 2 + 1)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    areas = 2.0 / (edges[2:] - edges[:-2])
    return (np.maximum(0.0, np.minimum(rise, fall)) * areas[:, None]).astype(np.float32)


_LINEAR_TO, _PER_MEL = 1000.0, 200.0 / 3
_LOG_STEP = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    mel = hertz / _PER_MEL
    return float(mel if hertz < _LINEAR_TO else _LINEAR_TO / _PER_MEL + np.log(hertz / _LINEAR_TO) / _LOG_STEP)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    bend = _LINEAR_TO / _PER_MEL
    return np.where(mels < bend, mels * _PER_MEL, _LINEAR_TO * np.exp(_LOG_STEP * (mels - bend)))
