"""Whisper's vocabulary: the tokens that steer it, and the words that tokens make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_WITHOUT_BLANKS = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages that put no blanks between words: each character counts as one."""
_STEERING = ("<|transcribe|>", "<|translate|>", "<|startoftranscript|>", "<|startofprev|>", "<|startoflm|>")
_BROKEN = "\ufffd"


class Vocabulary:
    """The tokens of one model."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a `tokenizers.Tokenizer`."""
        self._tokenizer = tokenizer
        added = tokenizer.get_vocab(with_added_tokens=True)
        self.languages = {found[1]: n for token, n in added.items() if (found := _LANGUAGE.fullmatch(token))}
        """Code → token; empty: the model knows English alone."""
        self.start, self.end = self._id("<|startoftranscript|>"), self._id("<|endoftext|>")
        nothing_said = (tokenizer.token_to_id(name) for name in ("<|nospeech|>", "<|nocaptions|>"))
        self.silence = next(n for n in nothing_said if n is not None)
        self.steering = [n for name in _STEERING if (n := tokenizer.token_to_id(name)) is not None] + [self.silence]
        """Tokens that are never written."""

    def prompt(self, language: str, task: str) -> list[int]:
        """Return what the decoder is given before it writes, for text without times in it."""
        steps = [self.languages[language], self._id(f"<|{task}|>")] if self.languages else []
        return [self.start, *steps, self._id("<|notimestamps|>")]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text that tokens make, with the blank that most begin with."""
        text: str = self._tokenizer.decode(list(tokens))
        return text

    def words(self, tokens: Sequence[int], language: str) -> list[tuple[str, int]]:
        """Return each word with the blanks and marks around it, and how many tokens it has; their sum is all."""
        words: list[tuple[str, int]] = []
        pending: list[int] = []
        for n, token in enumerate(tokens, 1):
            pending.append(token)
            text = self.text(pending)
            if text.endswith(_BROKEN) and n < len(tokens):
                continue  # a character may take several tokens
            if words and language not in _WITHOUT_BLANKS and not text.startswith(" "):
                before, n_before = words.pop()
                words.append((before + text, n_before + len(pending)))
            else:
                words.append((text, len(pending)))
            pending = []
        return words

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"The tokenizer has no {token}: it is not that of a Whisper; take the model's own.")
        return found
