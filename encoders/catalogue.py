"""The models of the hub that the profiles name: revision, licence, source, what each is.

A revision stands here where public code names that commit of the repository. Where none was found it is empty: the
first pull takes the newest and writes its commit into the lock file, and later pulls keep to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Published:
    """A model of the hub."""

    repository: str
    what: str
    licence: str
    revision: str = ""
    """A commit, 40 hex digits; empty: the newest at the first pull."""
    weights: str = "safetensors"
    """A key of `encoders.models.FORMATS`."""

    @property
    def source(self) -> str:
        """Where people read about it."""
        return f"https://huggingface.co/{self.repository}"


CATALOGUE: Mapping[str, Published] = MappingProxyType(
    {
        model.repository: model
        for model in (
            Published(
                repository="google/siglip2-base-patch16-224",
                what="pictures and words in many languages: SigLIP 2 B/16 at 224 px",
                licence="Apache-2.0",
                revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
            ),
            Published(
                repository="google/siglip2-so400m-patch16-384",
                what="pictures and words in many languages: SigLIP 2 So400m/16 at 384 px",
                licence="Apache-2.0",
                revision="dd658faac399427308559e2c3ac1e99cbe43845d",
            ),
            Published(
                repository="laion/clap-htsat-unfused",
                what="sound and words: CLAP with HTSAT",
                licence="Apache-2.0",
                revision="8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
            ),
            Published(
                repository="intfloat/multilingual-e5-small",
                what="sentences in many languages, 384 dimensions",
                licence="MIT",
                revision="614241f622f53c4eeff9890bdc4f31cfecc418b3",
            ),
            Published(
                repository="intfloat/multilingual-e5-large",
                what="sentences in many languages, 1024 dimensions",
                licence="MIT",
                revision="3d7cfbdacd47fdda877c5cd8a79fbcc4f2a574f3",
            ),
            Published(
                repository="Systran/faster-whisper-small",
                what="speech: Whisper small, 99 languages, for CTranslate2",
                licence="MIT",
                revision="536b0662742c02347bc0e980a01041f333bce120",
                weights="ctranslate2",
            ),
            Published(
                repository="dropbox-dash/faster-whisper-large-v3-turbo",
                what="speech: Whisper large-v3 turbo, 100 languages, for CTranslate2",
                licence="MIT",
                revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
                weights="ctranslate2",
            ),
            Published(
                repository="microsoft/xclip-base-patch32",
                what="clips of 8 frames and words: X-CLIP B/32",
                licence="MIT",
            ),
            Published(
                repository="HuggingFaceTB/SmolVLM-256M-Instruct",
                what="captions, English: SmolVLM 256M",
                licence="Apache-2.0",
                revision="7e3e67edbbed1bf9888184d9df282b700a323964",
            ),
        )
    }
)


def published(repository: str) -> Published | None:
    """Return what is known of a model of the hub; None: nothing."""
    return CATALOGUE.get(repository)
