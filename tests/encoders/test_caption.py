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
    torch.manual_seed(4)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**small, "vocab_size": len(WORDS), "encoder_hidden_size": 32, "bos_token_id": 2, "sep_token_id": 3}
    config = BlipConfig(
        text_config={**text, "pad_token_id": 0, "eos_token_id": 3, "projection_dim": 32, "initializer_range": 0.5},
        vision_config={**small, "image_size": 32, "patch_size": 8, "initializer_range": 0.5},
    )
    BlipForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def captioner(blip):
    return caption.load(str(blip))


def frames(n):
    """Return n frames of one colour each."""
    colours = np.random.default_rng(0).integers(0, 255, (n, 1, 1, 3), np.uint8)
    return np.tile(colours, (1, 40, 60, 1))


def test_the_reader_names_what_it_is(captioner):
    assert captioner.name.startswith("caption-blip-tiny-")
    assert (captioner.track, captioner.size_px) == ("caption", 32)


def test_a_frame_gets_the_same_text_alone_and_among_others(captioner):
    loaded = captioner._loaded
    loaded.per_call = 3

    together = loaded.write(frames(5))

    assert together == [text for frame in frames(5) for text in loaded.write(frame[None])]
    assert len(set(together)) > 1  # it says something, and of different frames different things


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


@pytest.fixture(scope="module")
def idefics(tmp_path_factory):
    """Write a small random Idefics3, one of the models that one talks to."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("models") / "SmolVLM-Tiny"
    torch.manual_seed(0)
    special = ["<pad>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    vocabulary = {word: n for n, word in enumerate([*special, *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="[UNK]",
        additional_special_tokens=special[3:],
    )  # fmt: skip
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**small, "model_type": "llama", "vocab_size": len(vocabulary), "num_key_value_heads": 2}
    config = Idefics3Config(
        vision_config={**small, "image_size": 32, "patch_size": 8, "initializer_range": 0.5},
        text_config={**text, "initializer_range": 0.5, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        image_token_id=3, scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    pictures = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    template = (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}"
        "{% endif %}{% endfor %}<end_of_utterance> {% endfor %}"
    )
    Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=template).save_pretrained(folder)
    return folder


def test_a_model_that_is_asked_answers_without_the_question(idefics):
    loaded = caption.load(str(idefics))._loaded
    loaded.per_call = 3

    together = loaded.write(frames(5))

    assert together == [text for frame in frames(5) for text in loaded.write(frame[None])]
    assert len(set(together)) > 1
    assert not any("<image>" in text or "Describe" in text for text in together)
