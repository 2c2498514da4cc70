"""Labels of an archive's own vocabulary: `labels.txt` in its root, one label a line.

    # what we look for
    lighthouse
    night shift: people at work in a factory at night

They are found when a generation is built, from the vectors that are stored: a change of the file encodes no picture
anew, and the tables hold what the models saw, whatever somebody calls it. In a generation they stand before the labels
that the models gave by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from encoders.spec import Vectors
from encoders.vocabulary import everyday, labels_of
from index.query import Questioner
from pipeline.archive import Archive
from pipeline.errors import ConfigError
from pipeline.media import Modality

LABELLED = (Modality.VISUAL, Modality.AUDIO)
LONGEST = 80


@dataclass(frozen=True)
class Term:
    """One label, and what it means where its name does not say it."""

    name: str
    description: str = ""

    @property
    def text(self) -> str:
        """Return what the encoders are given."""
        return f"{self.name}: {self.description}" if self.description else self.name


def vocabulary(archive: Archive) -> tuple[Term, ...]:
    """Return the labels of an archive; none if it has no labels.txt.

    Raises:
        ConfigError: a line is no label, or one that is there already; the message names the line.
    """
    try:
        text = archive.labels.read_text("utf8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"Cannot read {archive.labels} ({exc}); make it a readable file in UTF-8.") from exc
    terms: dict[str, Term] = {}
    for n, line in enumerate(text.removeprefix("\N{BYTE ORDER MARK}").splitlines(), 1):
        name, _, description = (part.strip() for part in line.partition("#")[0].partition(":"))
        if not name and not description:
            continue
        if not name or len(name) > LONGEST:
            raise ConfigError(
                f"{archive.labels}, line {n}: {line[:LONGEST]!r} needs a label of 1 to {LONGEST} characters before any "
                "colon; shorten it, and describe it behind one."
            )
        if name.casefold() in terms:
            raise ConfigError(f"{archive.labels}, line {n}: {name!r} is there already; remove one of them.")
        terms[name.casefold()] = Term(name, description)
    return tuple(terms.values())


def fingerprint(terms: tuple[Term, ...]) -> str:
    """Return 16 hex digits that change with the vocabulary; empty where there is none."""
    said = "\n".join(term.text for term in terms)
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest() if terms else ""


class Labeller:
    """A vocabulary in every space that words can enter. Encoded once for a build."""

    def __init__(self, terms: tuple[Term, ...], questioner: Questioner) -> None:
        self._names = tuple(term.name for term in terms)
        self._words: Mapping[str, Vectors] = (
            questioner.words((*(term.text for term in terms), *everyday())) if terms else {}
        )

    def label(self, moments: pa.Table, modality: str, space: str, vectors: Vectors) -> pa.Table:
        """Return moments of a list, rows as `vectors`, with the labels that fit them before those that they have."""
        if modality not in LABELLED or space not in self._words:
            return moments
        words, n = self._words[space], len(self._names)
        known = moments["labels"].to_pylist()
        labels = [
            [{"name": label.name, "score": label.score} for label in found]
            + [label for label in had or () if label["name"] not in {each.name for each in found}]
            for found, had in zip(labels_of(vectors, self._names, words[:n], words[n:]), known, strict=True)
        ]
        at = moments.schema.get_field_index("labels")
        return moments.set_column(at, "labels", pa.array(labels, moments.schema.field(at).type))
