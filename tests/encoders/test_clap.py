"""CLAP and PE-Audio, on small random checkpoints, against the library."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel, PeAudioFeatureExtractor, PeAudioModel

import encoders
from encoders import precision
from encoders.clap import ClapEncoder, load
from encoders.configuration import WrongFamilyError
from encoders.pretrained import IncompleteModelError
from encoders.spec import SoundEncoder, TextEncoder
from tests.encoders import checkpoints

RATE_HZ = 48000
WINDOW = 10 * RATE_HZ
TEXTS = ["a dog barks", "", "a train crosses the bridge while somebody plays the piano", "rain", "雨 " * 100]


def sound(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Return a chirp over noise."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng(seed)
    chirp = np.sin(2 * np.pi * (200 + 300 * seed + 400 * t) * t)
    return (0.4 * chirp + 0.05 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUSHES_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(precision, "SECONDS_EACH", 0.0)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("clap")
    return {
        "unfused": checkpoints.clap(root / "Unfused CLAP"),
        "fused": checkpoints.clap(root / "fused", fused=True, padding="repeat"),
        "pe": checkpoints.pe_audio(root / "pe"),
    }


@pytest.fixture(scope="module")
def made(folders: dict[str, Path]) -> dict[str, ClapEncoder]:
    return {name: encoders.load(f"clap:{folder}") for name, folder in folders.items()}


KINDS = pytest.mark.parametrize("kind", ["unfused", "fused", "pe"])
CLAP_KINDS = pytest.mark.parametrize("kind", ["unfused", "fused"])


@KINDS
def test_sound_and_words_are_unit_vectors_of_one_space(made: dict[str, ClapEncoder], kind: str) -> None:
    encoder = made[kind]
    assert isinstance(encoder, SoundEncoder)
    assert isinstance(encoder, TextEncoder)
    assert encoder.spec.rate_hz == RATE_HZ
    heard, read = encoder.encode_sound([sound(1), sound(2, 1)]), encoder.encode_texts(TEXTS)
    assert heard.labels == ((), ())
    for vectors, n in ((heard.vectors, 2), (read, len(TEXTS))):
        assert vectors.dtype == np.float32
        assert vectors.shape == (n, encoder.spec.dim) == (n, 32)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(n), abs=1e-3)
    assert encoder.encode_sound([]).vectors.shape == encoder.encode_texts([]).shape == (0, 32)


@KINDS
def test_a_sound_has_one_vector_alone_in_a_batch_and_again(made: dict[str, ClapEncoder], kind: str) -> None:
    sounds = [sound(0.3), sound(10, 1), sound(27, 2), np.zeros(0, np.float32), np.zeros(RATE_HZ, np.float32)]
    together = made[kind].encode_sound(sounds).vectors
    alone = np.concatenate([made[kind].encode_sound([one]).vectors for one in sounds])
    assert np.isfinite(together).all()
    assert np.abs(together - alone).max() < 1e-3
    assert np.array_equal(together, made[kind].encode_sound(sounds).vectors)


@KINDS
def test_a_text_has_one_vector_alone_and_in_a_batch(made: dict[str, ClapEncoder], kind: str) -> None:
    alone = np.concatenate([made[kind].encode_texts([text]) for text in TEXTS])
    assert np.abs(made[kind].encode_texts(TEXTS) - alone).max() < 1e-3


@CLAP_KINDS
@pytest.mark.parametrize("seconds", [0.01, 1.7, 6, 10])
def test_a_sound_is_heard_as_the_library_hears_it(
    folders: dict[str, Path], made: dict[str, ClapEncoder], kind: str, seconds: float
) -> None:
    extractor = ClapFeatureExtractor.from_pretrained(folders[kind])
    inputs = extractor(sound(seconds), sampling_rate=RATE_HZ, return_tensors="pt")
    # The library takes one sound of a batch at random for longer than it is.
    inputs["is_longer"] = torch.zeros_like(inputs["is_longer"])
    model = ClapModel.from_pretrained(folders[kind]).eval()
    with torch.inference_mode():
        expected = model.get_audio_features(**inputs).pooler_output.numpy()
    (vector,) = made[kind].encode_sound([sound(seconds)]).vectors
    assert cosine(vector, expected[0]) > 0.999


@CLAP_KINDS
def test_the_spectrogram_is_that_of_the_library(folders: dict[str, Path], kind: str) -> None:
    from encoders.clap_torch import ClapSound
    from encoders.models import find

    module = ClapSound(find(str(folders[kind])))
    model = ClapModel.from_pretrained(folders[kind]).eval()
    extractor = ClapFeatureExtractor.from_pretrained(folders[kind])
    mel = extractor(sound(10), sampling_rate=RATE_HZ, return_tensors="pt")["input_features"][:, :1]
    encoder = model.audio_model.audio_encoder
    with torch.inference_mode():
        image = encoder.reshape_mel2img(encoder.batch_norm(mel.transpose(1, 3)).transpose(1, 3))
        ours = encoder.reshape_mel2img(module.prepare(torch.from_numpy(sound(10))[None], torch.tensor([WINDOW])))
    assert ours.shape == image.shape
    assert float((ours - image).abs().max()) < 0.01


def test_pe_audio_compares_sound_and_words_as_the_library_does(
    folders: dict[str, Path], made: dict[str, ClapEncoder]
) -> None:
    # The library fills sounds up to the longest, here ours do to a window: so one of them is one.
    sounds, texts = [sound(10), sound(1.234, 1)], TEXTS[:1] + TEXTS[2:4]
    extractor = PeAudioFeatureExtractor.from_pretrained(folders["pe"])
    tokenizer = AutoTokenizer.from_pretrained(folders["pe"])
    heard = extractor(sounds, sampling_rate=RATE_HZ, return_tensors="pt")
    read = tokenizer(texts, padding=True, return_tensors="pt")
    model = PeAudioModel.from_pretrained(folders["pe"]).eval()
    with torch.inference_mode():
        found = model(
            input_ids=read["input_ids"], attention_mask=read["attention_mask"],
            input_values=heard["input_values"], padding_mask=heard["padding_mask"],
        )  # fmt: skip
    for vector, expected in zip(made["pe"].encode_sound(sounds).vectors, found.audio_embeds.numpy(), strict=True):
        assert cosine(vector, expected) > 0.999
    for vector, expected in zip(made["pe"].encode_texts(texts), found.text_audio_embeds.numpy(), strict=True):
        assert cosine(vector, expected) > 0.999


@CLAP_KINDS
def test_sound_and_words_compare_as_in_the_library(
    folders: dict[str, Path], made: dict[str, ClapEncoder], kind: str
) -> None:
    sounds = [sound(10), sound(10, 3)]
    extractor = ClapFeatureExtractor.from_pretrained(folders[kind])
    heard = extractor(sounds, sampling_rate=RATE_HZ, return_tensors="pt")
    read = AutoTokenizer.from_pretrained(folders[kind])(TEXTS, padding=True, truncation=True, return_tensors="pt")
    model = ClapModel.from_pretrained(folders[kind]).eval()
    with torch.inference_mode():
        compared = model(
            input_ids=read["input_ids"], attention_mask=read["attention_mask"],
            input_features=heard["input_features"], is_longer=torch.zeros(2, 1, dtype=torch.bool),
        )  # fmt: skip
        expected = (compared.logits_per_audio / model.logit_scale_a.exp()).numpy()
    ours = made[kind].encode_sound(sounds).vectors @ made[kind].encode_texts(TEXTS).T
    assert np.abs(ours - expected).max() < 0.01
    assert np.ptp(expected) > 0.05


def test_a_long_sound_lies_between_its_windows_and_nothing_is_left_to_chance(made: dict[str, ClapEncoder]) -> None:
    first, second = sound(10), sound(10, 4)
    parts = made["fused"].encode_sound([first, second]).vectors
    (whole,) = made["fused"].encode_sound([np.concatenate([first, second])]).vectors
    assert cosine(whole, parts.sum(axis=0)) > 0.9999
    slightly_longer = np.concatenate([np.zeros(RATE_HZ // 4, np.float32), first, np.zeros(RATE_HZ // 4, np.float32)])
    assert cosine(made["fused"].encode_sound([slightly_longer]).vectors[0], parts[0]) > 0.9999


def test_another_model_is_another_space(tmp_path: Path, folders: dict[str, Path], made: dict[str, ClapEncoder]) -> None:
    other = load(str(checkpoints.clap(tmp_path / "Unfused CLAP", seed=1)))
    again = load(str(folders["unfused"]))
    assert made["unfused"].spec.space == again.spec.space
    assert other.spec.space != again.spec.space
    assert again.spec.space.startswith("clap-unfused-clap-")
    assert again.spec.space.endswith("-32")
    assert np.array_equal(made["unfused"].encode_sound([sound(1)]).vectors, again.encode_sound([sound(1)]).vectors)


def test_a_folder_of_another_family_says_which(tmp_path: Path) -> None:
    with pytest.raises(WrongFamilyError, match=r"type 'xclip', which 'clap' does not load; name it as xclip:"):
        load(str(checkpoints.xclip(tmp_path / "clips")))


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = checkpoints.clap(tmp_path / "half") / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "text_projection" not in k}, path, {"format": "pt"})
    with pytest.raises(IncompleteModelError, match="lacks 4 weights"):
        load(str(path.parent)).encode_texts(["a dog"])


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
