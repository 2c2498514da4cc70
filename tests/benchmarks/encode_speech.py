"""How fast a GPU writes speech down with a model of Whisper turbo's geometry, and random weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.listening import CONTEXT_SECONDS, WINDOW_SECONDS, Window
from encoders.voice import RATE_HZ
from encoders.whisper_torch import TorchWhisper
from tests.benchmarks.figures import Figure, at_least, not_run

TOKENS_PER_SECOND = 4.5
"""About 3 words a second, and 1.5 tokens a word."""
TURBO = {
    "vocab_size": 51866, "num_mel_bins": 128, "d_model": 1280, "encoder_layers": 32, "decoder_layers": 4,
    "encoder_attention_heads": 20, "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120,
}  # fmt: skip
WINDOWS_AT_ONCE = 48
TIMED_SECONDS = 8.0
"""For each of the two rows on a GPU."""


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


def _finished(tensor: Any) -> Any:
    import torch

    torch.cuda.synchronize()
    return tensor


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result
