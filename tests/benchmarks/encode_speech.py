"""How fast speech is written down: the embedded Whisper on the processor, the geometry of Whisper turbo on a GPU.

python -m tests.benchmarks.encode_speech [--gpu] [--json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import whisper
from encoders.listening import CONTEXT_SECONDS, WINDOW_SECONDS, Window
from encoders.voice import RATE_HZ
from encoders.whisper_torch import TorchWhisper
from tests.benchmarks.figures import Figure, at_least, not_run, report
from tests.benchmarks.processes import load

SPEECH = Path(__file__).parents[2] / "flows" / "demo_files"
RECORDINGS = ("austen.flac", "jfk.flac")
TOKENS_PER_SECOND = 4.5
"""About 3 words a second, and 1.5 tokens a word."""
TURBO = {
    "vocab_size": 51866, "num_mel_bins": 128, "d_model": 1280, "encoder_layers": 32, "decoder_layers": 4,
    "encoder_attention_heads": 20, "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120,
}  # fmt: skip
WINDOWS_AT_ONCE = 48
TIMED_SECONDS = 8.0
"""For each of the two rows on a GPU."""


def cpu_figures() -> Iterator[Figure]:
    """Yield how many times real time the embedded reader listens to speech, and to silence."""
    speech = np.concatenate([_recording(SPEECH / name) for name in RECORDINGS])
    reader = whisper.load(device="cpu")
    reader.read(speech[: 15 * RATE_HZ])
    reader.rejected.clear()
    took, said = _timed(lambda: reader.read(speech))
    seconds = len(speech) / RATE_HZ
    quality = f"{seconds:.0f} s of {', '.join(RECORDINGS)}, {len(said)} sentences, left out {dict(reader.rejected)}"
    yield at_least("Whisper base int8, speech", seconds / took, "times real time", 10.0, quality=f"{quality}; {load()}")
    silence = np.random.default_rng(0).normal(0, 1e-3, 300 * RATE_HZ).astype(np.float32)
    took, said = _timed(lambda: reader.read(silence))
    yield at_least(
        "Whisper base int8, silence", 300 / took, "times real time", 100.0,
        quality=f"300 s of noise at -60 dB, {len(said)} sentences; {load()}",
    )  # fmt: skip


def gpu_figures() -> Iterator[Figure]:
    """Yield how many times real time a GPU writes down speech with a model of turbo's geometry; under 90 s.

    Needs torch, transformers and tokenizers alone. All that the reader does on the device is timed: spectrograms,
    languages, writing, the times of words. The detector of voices, which runs on the processor, is not.
    """
    import torch

    if not torch.cuda.is_available():
        yield not_run("Whisper turbo", "times real time", "no GPU", 200.0)
        return
    model = TorchWhisper(_turbo(), _tokenizer(), "cuda")
    device = torch.cuda.get_device_name()
    for name, seconds, context, bound in (
        ("as the reader cuts it", WINDOW_SECONDS, CONTEXT_SECONDS, 200.0),
        ("whole contexts", 30.0, 30.0, 200.0),
    ):
        n_tokens = model._most_tokens = round(seconds * TOKENS_PER_SECOND)
        windows = [Window(0.0, seconds, "en", seconds)] * WINDOWS_AT_ONCE
        sounds = np.random.default_rng(0).normal(0, 0.1, (WINDOWS_AT_ONCE, round(seconds * RATE_HZ))).astype(np.float32)
        _listen(model, sounds, windows, context, {})
        spent: dict[str, float] = {}
        n_batches, n_written, began = 0, 0, time.monotonic()
        while time.monotonic() - began < TIMED_SECONDS:
            n_written += _listen(model, sounds, windows, context, spent)
            n_batches += 1
        took = time.monotonic() - began
        heard = n_batches * WINDOWS_AT_ONCE * seconds
        parts = ", ".join(f"{part} {share / took:.0%}" for part, share in spent.items())
        yield at_least(
            f"Whisper turbo, {name}", heard / took, "times real time", bound,
            quality=f"{device}; random weights; {WINDOWS_AT_ONCE} windows of {seconds:g} s in {context:g} s, bf16; "
            f"{n_written / n_batches / WINDOWS_AT_ONCE:.0f} of at most {n_tokens} tokens decoded a window; {parts}; "
            "without the detector of voices",
        )  # fmt: skip


def _listen(
    model: TorchWhisper, sounds: NDArray[np.float32], windows: list[Window], context: float, spent: dict[str, float]
) -> int:
    """Do what the reader does with a batch; return how many tokens were written."""

    def timed(part: str, work: Callable[[], Any]) -> Any:
        took, result = _timed(work)
        spent[part] = spent.get(part, 0.0) + took
        return result

    timed("languages", lambda: model.languages(list(sounds)))
    encoding = timed("encoder", lambda: _finished(model.encode(list(sounds), context)))
    written = timed("writing", lambda: model.write(encoding, windows, "transcribe"))
    tokens = [w.tokens for w in written]
    timed("word times", lambda: model.timed(encoding, windows, tokens))
    return sum(map(len, tokens))


def _turbo() -> Any:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(**TURBO, attn_implementation="sdpa")
    with torch.device("cuda"):
        model = WhisperForConditionalGeneration(config)
    model.generation_config.alignment_heads = [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]]
    model.generation_config.begin_suppress_tokens = []
    model.generation_config.suppress_tokens = []
    return model


def _tokenizer() -> Any:
    """Return a vocabulary of made-up words, with the tokens that steer Whisper where turbo has them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    steering = ["endoftext", "startoftranscript", "en", *(_code(n) for n in range(99)), "translate", "transcribe"]
    steering += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    words = [f" w{n}" for n in range(50257)] + [f"<|{name}|>" for name in steering]
    words += [f"<|{n / 50:.2f}|>" for n in range(TURBO["vocab_size"] - len(words))]
    return Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token=" w0"))


def _code(n: int) -> str:
    return "q" + chr(ord("a") + n // 26) + chr(ord("a") + n % 26)


def _recording(path: Path) -> NDArray[np.float32]:
    """Return a recording as mono sound, float32 [T], at the reader's rate."""
    import av

    resampler = av.AudioResampler("flt", "mono", RATE_HZ)
    with av.open(path) as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float32)


def _finished(tensor: Any) -> Any:
    import torch

    torch.cuda.synchronize()
    return tensor


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main() -> int:
    """Print the figures; return 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="measure on a GPU, not on the processor")
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    return report(gpu_figures() if options.gpu else cpu_figures(), as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
