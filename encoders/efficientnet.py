"""EfficientNet-Lite, an ImageNet classifier, in plain torch; imported only when frames are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from encoders.packages import Package, locate

_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""Blocks at depth 1.0 (Lite0) and stride of each stage; all other shapes are those of the weights."""
_BATCH_NORM_EPSILON = 1e-3


class EfficientNetLite(nn.Module):
    """Pictures into logits of the 1000 ImageNet classes.

    Every batch norm is folded into the convolution before it, which halves the passes over memory.
    """

    def __init__(self, weights: Mapping[str, Tensor], depth: float) -> None:
        super().__init__()
        self.stem = _Convolution(weights, "_conv_stem", "_bn0", stride=2)
        blocks: list[nn.Module] = []
        for stage, (repeats, stride) in enumerate(_STAGES):
            scaled = stage not in (0, len(_STAGES) - 1)  # the Lite family keeps its first and last stage at one block
            for i in range(ceil(repeats * depth) if scaled else repeats):
                blocks.append(_Block(weights, f"_blocks.{len(blocks)}", stride if i == 0 else 1))
        self.blocks = nn.Sequential(*blocks)
        self.head = _Convolution(weights, "_conv_head", "_bn1", stride=1)
        self.classify = nn.Linear(1280, 1000)
        self.classify.load_state_dict({"weight": weights["_fc.weight"], "bias": weights["_fc.bias"]})
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Classify pictures, float32 [N, 3, H, W], RGB, (value - 127) / 128, any H and W.

        Returns:
            The features before the classifier, [N, 1280], and the logits, [N, 1000].
        """
        x = F.relu6(self.stem(pictures))
        x = F.relu6(self.head(self.blocks(x)))
        features = x.mean(dim=(2, 3))
        return features, self.classify(features)


class _Block(nn.Module):
    def __init__(self, weights: Mapping[str, Tensor], at: str, stride: int) -> None:
        super().__init__()
        expands = f"{at}._expand_conv.weight" in weights
        self.expand = _Convolution(weights, f"{at}._expand_conv", f"{at}._bn0") if expands else None
        self.depthwise = _Convolution(weights, f"{at}._depthwise_conv", f"{at}._bn1", stride)
        self.project = _Convolution(weights, f"{at}._project_conv", f"{at}._bn2")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if x.shape == y.shape else y


class _Convolution(nn.Module):
    """A convolution with its batch norm folded in, padded as TensorFlow pads ("same")."""

    def __init__(self, weights: Mapping[str, Tensor], conv: str, norm: str, stride: int = 1) -> None:
        super().__init__()
        kernel = weights[f"{conv}.weight"]
        scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
        self.weight = nn.Parameter(kernel * scale[:, None, None, None])
        self.bias = nn.Parameter(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)
        self.stride, self.size = stride, kernel.shape[-1]
        self.groups = kernel.shape[0] if kernel.shape[1] == 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=self.size // 2, groups=self.groups)
        pads = []
        for length in (x.shape[3], x.shape[2]):
            missing = max((-(-length // self.stride) - 1) * self.stride + self.size - length, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, stride=self.stride, groups=self.groups)


def load(package: Package, depth: float) -> EfficientNetLite:
    """Load a classifier from its package; `depth` is 1.0 for Lite0 and 1.2 for Lite2.

    Raises:
        MissingPackageError: the package is not installed.
        ChangedFileError: the file differs from the pinned one.
    """
    (path,) = locate(package).values()
    return EfficientNetLite(torch.load(path, map_location="cpu", weights_only=True), depth)
