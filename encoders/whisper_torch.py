"""Whisper run by torch, from a folder of transformers: for GPUs whose CUDA is not the one that CTranslate2 wants.

Listens as `encoders.whisper` does, with the same detector of voices and the same guard; what is doubtful is heard again
in the model's whole context, but without several hypotheses.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.alignment import attention_of_heads, token_starts
from encoders.listening import CONTEXT_SECONDS, Window
from encoders.log_mel import FRAMES_PER_SECOND, LogMel
from encoders.models import find
from encoders.packages import MissingPackageError
from encoders.transcriber import Skills, Written
from encoders.utterances import Word
from encoders.voice import RATE_HZ
from encoders.whisper import SETTINGS, WhisperReader, reader_name
from encoders.whisper_tokens import Vocabulary

MOST_TOKENS = 224
WINDOWS_PER_CALL = {"cpu": 4, "cuda": 48}
_ENCODED_PER_SECOND = FRAMES_PER_SECOND // 2
_ASKED_EVERY = 8
"""Steps after which is asked whether all windows are done: each answer waits for the device."""


class TorchWhisper:
    """A Whisper of transformers; see `Transcriber`. bf16 on a GPU, fp32 on the processor."""

    def __init__(self, model: Any, tokenizer: Any, device: str = "", most_tokens: int = MOST_TOKENS) -> None:
        """Take a `WhisperForConditionalGeneration` and the `tokenizers.Tokenizer` that goes with it."""
        import torch

        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.windows_per_call = WINDOWS_PER_CALL[self._device]
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        self._model = model.eval().to(self._device, self._dtype)
        self._vocabulary = Vocabulary(tokenizer)
        self._most_tokens = most_tokens
        self._log_mel = LogMel(model.config.num_mel_bins, self._device)
        self._encoders: dict[int, Any] = {model.config.max_source_positions: model.model.encoder}
        parameters = inspect.signature(model.model.decoder.forward).parameters
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"  # transformers renames it
        settings = model.generation_config
        never = {*(getattr(settings, "suppress_tokens", None) or ()), *self._vocabulary.steering}
        first = {*(getattr(settings, "begin_suppress_tokens", None) or ()), self._vocabulary.end}
        self._never, self._not_first = (torch.tensor(sorted(n), device=self._device) for n in (never, never | first))

    @classmethod
    def read(cls, folder: Path, device: str = "") -> TorchWhisper:
        """Read a folder with model.safetensors, config.json, generation_config.json and tokenizer.json."""
        from tokenizers import Tokenizer
        from transformers import WhisperForConditionalGeneration

        model = WhisperForConditionalGeneration.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, attn_implementation="sdpa"
        )
        return cls(model, Tokenizer.from_file(str(folder / "tokenizer.json")), device)

    def encode(self, sounds: Sequence[NDArray[np.float32]], seconds: float = CONTEXT_SECONDS) -> Any:
        """See `Transcriber`. A tensor [B, 50 × seconds, d_model] on the device."""
        import torch

        filled = np.zeros((len(sounds), round(seconds * RATE_HZ)), np.float32)
        for row, sound in zip(filled, sounds, strict=True):
            row[: len(sound)] = sound[: len(row)]
        with torch.inference_mode():
            seen = self._log_mel(torch.from_numpy(filled).to(self._device)).to(self._dtype)
            return self._encoder(seen.shape[-1] // 2)(seen).last_hidden_state

    def languages(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
        """See `Transcriber`. Many at once, all in the context that they are later written down in."""
        import torch

        codes = self._vocabulary.languages
        found: list[dict[str, float]] = []
        for first in range(0, len(sounds), self.windows_per_call):
            encoding = self.encode(sounds[first : first + self.windows_per_call])
            with torch.inference_mode():
                start = torch.full((len(encoding), 1), self._vocabulary.start, device=self._device)
                logits = self._logits(start, encoding)[:, -1, list(codes.values())].float()
            found += [dict(zip(codes, row, strict=True)) for row in logits.softmax(-1).tolist()]
        return found

    def write(
        self,
        encoding: Any,
        windows: Sequence[Window],
        task: str,
        *,
        beam_size: int = 1,  # noqa: ARG002
    ) -> list[Written]:
        """See `Transcriber`. Always the likeliest token after each; `beam_size` is not looked at."""
        prompt, end = self._vocabulary.prompt(windows[0].language, task), self._vocabulary.end
        written = []
        for row, logs, silence in zip(*self._decode(encoding, prompt), strict=True):
            n = row.index(end) if end in row else len(row)
            said = [token for token in row[:n] if token < end]
            mean = float(np.mean(logs[: n + 1]))  # the end counts as a token
            written.append(Written(said, self._vocabulary.text(said).strip(), mean, silence))
        return written

    def timed(self, encoding: Any, windows: Sequence[Window], tokens: Sequence[Sequence[int]]) -> list[Word]:
        """See `Transcriber`. The decoder reads once more what it wrote, and shows where it looks."""
        kept = [n for n, some in enumerate(tokens) if some]
        if not kept:
            return []
        texts = [list(tokens[n]) for n in kept]
        n_frames = [round((windows[n].stop - windows[n].start) * _ENCODED_PER_SECOND) for n in kept]
        attention, chances = self._read_again(encoding[kept], windows[0].language, texts, n_frames)
        starts = token_starts(attention, [len(text) + 1 for text in texts], n_frames)
        return [
            word
            for n, text, frames, sure in zip(kept, texts, starts, chances, strict=True)
            for word in self._words(windows[n], text, frames, sure)
        ]

    def _words(self, window: Window, tokens: list[int], frames: list[int], chances: list[float]) -> list[Word]:
        words, at = [], 0
        for text, n_tokens in self._vocabulary.words(tokens, window.language):
            last = at + n_tokens
            start, stop = (window.start + frames[edge] / _ENCODED_PER_SECOND for edge in (at, last))
            words.append(Word(text, start, stop, float(np.mean(chances[at:last])), window.language))
            at = last
        return words

    def _decode(self, encoding: Any, prompt: list[int]) -> tuple[list[list[int]], list[list[float]], list[float]]:
        """Return tokens, the logarithm of each one's probability, and that of silence, for each of B windows."""
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        most = min(self._most_tokens, self._model.config.max_target_positions - len(prompt))
        with torch.inference_mode():
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            logits = self._logits(torch.tensor([prompt] * len(encoding), device=self._device), encoding, cache)
            silence = logits[:, 0].float().softmax(-1)[:, self._vocabulary.silence]
            done = torch.zeros(len(encoding), dtype=torch.bool, device=self._device)
            tokens: list[Any] = []
            logs: list[Any] = []
            while True:
                chances = logits[:, -1].float().index_fill_(1, self._never if tokens else self._not_first, -torch.inf)
                best, token = chances.log_softmax(-1).max(-1)
                token = token.masked_fill(done, self._vocabulary.end)
                tokens.append(token)
                logs.append(best)
                done |= token == self._vocabulary.end
                if len(tokens) >= most or (len(tokens) % _ASKED_EVERY == 0 and bool(done.all())):
                    break
                logits = self._logits(token[:, None], encoding, cache)
            return torch.stack(tokens, 1).tolist(), torch.stack(logs, 1).tolist(), silence.tolist()

    def _read_again(
        self, encoding: Any, language: str, texts: list[list[int]], n_frames: list[int]
    ) -> tuple[NDArray[np.float32], list[list[float]]]:
        """Return where each token and the end look, float32 [B, T + 1, F], and the probability of each token."""
        import torch

        prompt, longest = self._vocabulary.prompt(language, "transcribe"), max(map(len, texts))
        first = len(prompt) - 1  # what stands there foretells the first token
        rows = [[*prompt, *text, *[self._vocabulary.end] * (longest - len(text))] for text in texts]
        ids = torch.tensor(rows, device=self._device)
        with torch.inference_mode(), attention_of_heads(self._model) as attention:
            chances = self._logits(ids, encoding)[:, first:-1].float().softmax(-1)
            told = chances.gather(-1, ids[:, first + 1 :, None])[..., 0].tolist()
            seen = attention(first, [len(text) + 1 for text in texts], n_frames)
        return seen, told

    def _logits(self, tokens: Any, encoding: Any, cache: Any = None) -> Any:
        """Return [B, T, vocabulary]; a cache is written into."""
        kept = {} if cache is None else {self._cache_name: cache}
        hidden = self._model.model.decoder(
            input_ids=tokens, encoder_hidden_states=encoding, use_cache=cache is not None, **kept
        ).last_hidden_state
        return self._model.proj_out(hidden)

    def _encoder(self, n_positions: int) -> Any:
        """Return the encoder for a shorter context: the same layers, and the first of its fixed positions."""
        from torch import nn

        if n_positions not in self._encoders:
            whole = self._model.model.encoder
            short = copy.copy(whole)
            short._modules = dict(whole._modules)
            short.config = copy.deepcopy(whole.config)
            short.config.max_source_positions = n_positions
            places = whole.embed_positions.weight[:n_positions]
            short.embed_positions = nn.Embedding(len(places), places.shape[1], _weight=places)
            self._encoders[n_positions] = short
        return self._encoders[n_positions]


def load(source: str, *, device: str = "") -> WhisperReader:
    """Return a Whisper of transformers.

    Args:
        source: a folder with safetensors and tokenizer.json, or the name of a pulled model.
        device: "cpu" or "cuda"; empty: a GPU where torch sees one.

    Raises:
        MissingModelError: the model is not on this machine.
        MissingPackageError: it lacks a file.
        ValueError: the model is no Whisper.
    """
    model = find(source)
    if not (model.path / "tokenizer.json").is_file():
        raise MissingPackageError(f"{model.path} has no tokenizer.json; copy it there from the model it was made of.")
    said = json.loads((model.path / "config.json").read_bytes())
    if said.get("model_type") != "whisper":
        raise ValueError(f"{model.path} is a {said.get('model_type')} model; name a Whisper.")
    skills = Skills.of(said["vocab_size"], said["encoder_layers"], said["decoder_layers"])
    return WhisperReader(
        reader_name(model, f"{SETTINGS} torch"), skills, partial(TorchWhisper.read, model.path, device)
    )
