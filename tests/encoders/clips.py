"""Small random checkpoints of CLIP and its like, as transformers saves them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

WORDS = ["a", "dog", "on", "beach", "two", "people", "talk", "about", "bridge", "in", "the", "rain", "cat", "sits"]
KINDS = ("clip", "metaclip_2", "siglip")
SIZE_PX, PATCH_PX = 64, 16


def save(kind: str, directory: Path, text: dict[str, Any] | None = None, **said: Any) -> Path:
    """Save a model with its tokenizer and its settings for pictures.

    Args:
        kind: of `KINDS`.
        directory: to save in.
        text: what the configuration of the text tower says besides.
        **said: what the settings for pictures say besides.
    """
    import torch
    import transformers

    torch.manual_seed(len(kind))
    shared = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    vision = {**shared, "image_size": SIZE_PX, "patch_size": PATCH_PX}
    vocabulary = _tokenizer(directory, siglip=kind == "siglip")
    words = {**shared, "vocab_size": vocabulary, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "siglip":
        words |= {"max_position_embeddings": 16, "projection_size": 32, **(text or {})}
        config: Any = transformers.SiglipConfig(text_config=words, vision_config=vision)
        model: Any = transformers.SiglipModel(config)
        processor: Any = transformers.SiglipImageProcessor
        size: Any = {"height": SIZE_PX, "width": SIZE_PX}
    else:
        words |= {"max_position_embeddings": 24, "projection_dim": 24, **(text or {})}
        vision |= {"projection_dim": 24}
        family = "Clip" if kind == "clip" else "MetaClip2"
        names = {"Clip": ("CLIPConfig", "CLIPModel"), "MetaClip2": ("MetaClip2Config", "MetaClip2Model")}[family]
        config = getattr(transformers, names[0])(text_config=words, vision_config=vision, projection_dim=24)
        model = getattr(transformers, names[1])(config)
        processor = transformers.CLIPImageProcessor
        size = {"shortest_edge": SIZE_PX}
        said = {"crop_size": {"height": SIZE_PX, "width": SIZE_PX}, **said}
    with torch.no_grad():  # as saved, random weights hardly tell pictures apart
        for name, weights in model.named_parameters():
            if weights.ndim > 1 and "embedding" not in name:
                weights.mul_(4)
    model.save_pretrained(directory)
    processor(**{"size": size, **said}).save_pretrained(directory)
    return directory


def _tokenizer(directory: Path, *, siglip: bool) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS, *string.ascii_lowercase])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>" if siglip else "<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(directory)
    return len(vocabulary)
