"""Captions: real loading and decoding on small random checkpoints, and the guard against what makes no sense."""

import json

import numpy as np
import pytest

from encoders import caption

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "on", "the", "mat", "dog", "train", "##s"]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """Write a small random BLIP, as transformers saves it."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("models") / "Blip-Tiny"
    folder.mkdir()
    torch.manual_seed(3)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**small, "vocab_size": len(WORDS), "encoder_hidden_size": 32, "bos_token_id": 2, "sep_token_id": 3}
    config = BlipConfig(
        text_config={**text, "pad_token_id": 0, "eos_token_id": 3, "projection_dim": 32},
        vision_config={**small, "image_size": 32, "patch_size": 8},
    )
    BlipForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def captioner(blip):
    return caption.load(str(blip))


def frames(n, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (n, 40, 60, 3), np.uint8)


def test_the_reader_names_what_it_is(captioner):
    assert captioner.name.startswith("caption-blip-tiny-")
    assert (captioner.track, captioner.size_px) == ("caption", 32)


def test_a_frame_gets_the_same_text_alone_and_among_others(captioner):
    loaded = captioner._loaded
    loaded.per_call = 3

    together = loaded.write(frames(5))

    assert together == [text for frame in frames(5) for text in loaded.write(frame[None])]
    assert any(word in WORDS for word in together[0].split())


def test_every_frame_gets_a_text_or_is_counted(captioner):
    captioner.rejected.clear()

    texts = captioner.read_frames(frames(5))

    assert len(texts) == 5
    assert texts.count("") == sum(captioner.rejected.values())


def test_no_frames_are_no_texts(captioner):
    assert captioner.read_frames(frames(0)) == []


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("a dog and a dog and a dog and a dog and a dog", "repetition"),
        (" . . ", "no words"),
        ("", "no words"),
    ],
)
def test_what_makes_no_sense_is_left_out_and_counted(captioner, monkeypatch, written, reason):
    monkeypatch.setattr(captioner._loaded, "write", lambda some: [written] * len(some))
    captioner.rejected.clear()

    assert captioner.read_frames(frames(1)) == [""]
    assert captioner.rejected == {reason: 1}


def test_blanks_are_single(captioner, monkeypatch):
    monkeypatch.setattr(captioner._loaded, "write", lambda some: ["  a cat\non the mat "] * len(some))

    assert captioner.read_frames(frames(1)) == ["a cat on the mat"]


@pytest.mark.parametrize(
    ("said", "px"),
    [({"size": {"height": 384, "width": 384}}, 384), ({"size": 224}, 224), ({"size": {"longest_edge": 2048}}, 768),
     ({"image_processor": {"size": {"shortest_edge": 336}}}, 336), ({}, 384)],
)  # fmt: skip
def test_the_model_says_how_large_frames_should_be(tmp_path, said, px):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))

    assert caption._wanted_px(tmp_path) == px
