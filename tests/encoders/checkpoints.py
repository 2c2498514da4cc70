"""Checkpoints with small random weights, as their libraries save them; tokenizers are trained on the spot."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PeAudioConfig,
    PeAudioFeatureExtractor,
    PeAudioModel,
    PreTrainedTokenizerFast,
    VideoMAEImageProcessor,
    XCLIPConfig,
    XCLIPModel,
    XCLIPProcessor,
    XLMRobertaConfig,
    XLMRobertaModel,
)

N_TOKENS = 400
CORPUS = [
    "a dog barks in the rain",
    "ein Hund bellt im Regen, und niemand hört zu",
    "un chien aboie sous la pluie",
    "雨の中で犬が吠える",
    "somebody plays the piano while a train crosses the bridge",
]
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_tokenizer(longest: int, last: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer like CLIP's and RoBERTa's; `last`: the token at the end has the highest number, as CLIP's."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=N_TOKENS - 1, special_tokens=_SPECIAL, initial_alphabet=alphabet)
    )
    end = "</s>"
    if last:
        end = "<end>"
        made.add_special_tokens([end])
    ends = [(token, made.token_to_id(token)) for token in ("<s>", end)]
    made.post_processor = processors.TemplateProcessing(single=f"<s> $A {end}", special_tokens=ends)
    return _fast(made, longest, end)


def sentence_piece_tokenizer(longest: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer like XLM-R's."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=200, special_tokens=_SPECIAL, unk_token="<unk>", show_progress=False)
    )
    ends = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return _fast(made, longest, "</s>")


def clap(folder: Path, fused: bool = False, padding: str = "repeatpad", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = ClapConfig(
        text_config={
            "vocab_size": N_TOKENS,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 66,
        },
        audio_config={
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "hidden_size": 16,
            "enable_fusion": fused,
            "fusion_type": "aff_2d" if fused else None,
        },
        projection_dim=32,
    )
    model = ClapModel(config)
    _shake(model)
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.uniform_(-40, -20)
    norm.running_var.uniform_(100, 400)
    model.save_pretrained(folder)
    extractor = ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc", padding=padding)
    ClapProcessor(extractor, byte_tokenizer(64)).save_pretrained(folder)
    return folder


def pe_audio(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = PeAudioConfig(
        text_config={
            "model_type": "modernbert",
            "vocab_size": N_TOKENS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "cls_token_id": 0,
            "sep_token_id": 2,
        },
        audio_config={
            "dac_config": {
                "model_type": "dac",
                "encoder_hidden_size": 4,
                "downsampling_ratios": [2, 8, 10, 12],
                "codebook_dim": 16,
                "hidden_size": 64,
                "n_codebooks": 1,
                "codebook_size": 8,
                "decoder_hidden_size": 16,
            },
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "head_dim": 16,
        },
    )
    model = PeAudioModel(config)
    _shake(model)
    model.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    byte_tokenizer(64).save_pretrained(folder)
    return folder


def xclip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = XCLIPConfig(
        text_config={
            "vocab_size": N_TOKENS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 24,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "mit_hidden_size": 32,
            "mit_intermediate_size": 64,
            "mit_num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "num_frames": 4,
        },
        projection_dim=32,
        prompt_num_attention_heads=2,
    )
    model = XCLIPModel(config)
    _shake(model)
    model.save_pretrained(folder)
    shown = VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    XCLIPProcessor(shown, byte_tokenizer(24, last=True)).save_pretrained(folder)
    return folder


def clip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config={
            "vocab_size": N_TOKENS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 24,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=32,
    )
    model = CLIPModel(config)
    _shake(model)
    model.save_pretrained(folder)
    shown = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(shown, byte_tokenizer(24, last=True)).save_pretrained(folder)
    return folder


def xlm_roberta(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = sentence_piece_tokenizer(64)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=66,
        type_vocab_size=1,
    )
    model = XLMRobertaModel(config)
    _shake(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence_transformer(
    folder: Path,
    pooling: str = "mean",
    include_prompt: bool = True,
    seed: int = 0,
    prompts: dict[str, str] | None = None,
) -> Path:
    """Save a text model of sentence-transformers, multilingual, with prompts."""
    transformer = Transformer(str(xlm_roberta(folder.with_name(f"{folder.name}-plain"), seed)))
    pooled = Pooling(32, pooling_mode=pooling, include_prompt=include_prompt)
    prompts = {"query": "query: ", "document": "passage: "} if prompts is None else prompts
    SentenceTransformer(modules=[transformer, pooled, Normalize()], prompts=prompts, device="cpu").save(str(folder))
    return folder


def picture_sentence_transformer(folder: Path, seed: int = 0) -> Path:
    """Save a model of sentence-transformers that takes texts and pictures."""
    transformer = Transformer(str(clip(folder.with_name(f"{folder.name}-plain"), seed)))
    SentenceTransformer(modules=[transformer], device="cpu").save(str(folder))
    return folder


def sound_sentence_transformer(folder: Path, seed: int = 0) -> Path:
    """Save a model of sentence-transformers that takes texts and sound."""
    transformer = Transformer(str(clap(folder.with_name(f"{folder.name}-plain"), seed=seed)))
    SentenceTransformer(modules=[transformer], device="cpu").save(str(folder))
    return folder


def _fast(made: Tokenizer, longest: int, end: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=longest,
        bos_token="<s>",
        cls_token="<s>",
        eos_token=end,
        sep_token=end,
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


@torch.no_grad()
def _shake(model: torch.nn.Module) -> None:
    """Make weights larger than they begin, or all vectors would be nearly the same."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.add_(torch.randn_like(parameter) * 0.1)
