"""Small random Whispers in both formats, with the vocabulary of the embedded one."""

import json

from encoders import weights
from encoders.packages import locate

LANGUAGES = range(50259, 50358)
SMALL = {
    "d_model": 32, "num_mel_bins": 128, "encoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip


def small_whisper(n_tokens=51865, decoder_layers=2):
    """Return a random `WhisperForConditionalGeneration` that reacts to what it hears."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(**SMALL, vocab_size=n_tokens, decoder_layers=decoder_layers, init_std=0.3)
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config.alignment_heads = [[decoder_layers - 1, 0], [decoder_layers - 1, 1]]
    model.generation_config.suppress_tokens = []
    model.generation_config.begin_suppress_tokens = [220, 50257]
    return model


def save(folder, **shape):
    """Write one as transformers does."""
    small_whisper(**shape).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(_file("tokenizer.json"))
    return folder


def convert(folder, n_tokens=51865, **shape):
    """Write the same one as CTranslate2 does."""
    from ctranslate2.converters.transformers import WhisperLoader

    spec = WhisperLoader().get_model_spec(small_whisper(n_tokens, **shape))
    vocabulary = json.loads(_file("vocabulary.json"))
    spec.register_vocabulary([*vocabulary, *(f"<|more {n}|>" for n in range(n_tokens - len(vocabulary)))][:n_tokens])
    spec.config.lang_ids = list(LANGUAGES)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], [220, 50257]
    spec.config.alignment_heads = [[shape.get("decoder_layers", 2) - 1, head] for head in (0, 1)]
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    (folder / "tokenizer.json").write_bytes(_file("tokenizer.json"))
    return folder


def _file(name):
    (path,) = (path for key, path in locate(weights.WHISPER_BASE_2).items() if key.endswith(f"/{name}"))
    return path.read_bytes()
