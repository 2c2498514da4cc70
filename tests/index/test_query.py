"""From what is asked to vectors."""

from collections.abc import Sequence

import numpy as np

from encoders.spec import Vectors
from index.query import asked
from tests.toys import Words


class Asking(Words):
    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_texts([f"query: {text}" for text in texts])


def test_what_tells_questions_from_texts_is_asked_with_questions() -> None:
    assert np.array_equal(asked(Asking(), ["a dog"]), Words().encode_texts(["query: a dog"]))
    assert np.array_equal(asked(Words(), ["a dog"]), Words().encode_texts(["a dog"]))
