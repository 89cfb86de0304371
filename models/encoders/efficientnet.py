"""EfficientNet-Lite0 without its classifier: an auxiliary CNN with ImageNet weights that fits small devices.

The network of tensorflow/tpu (Google, Apache-2.0) with the parameter names of timm's `tf_efficientnet_lite0`, so that
its weights load: ReLU6, no squeeze-excitation, TensorFlow's "SAME" padding, batch norms with eps 1e-3.
Input (B, 3, S, S), (RGB 0..255 - 127) / 128; output four maps of stride 4, 8, 16 and 32.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from models.configuration import CnnNorm
from models.layers import norm_maker

EPS = 1e-3
STEM_WIDTH = 32
STAGES = (
    # blocks, width, expansion, kernel, stride of the first block
    (1, 16, 1, 3, 1),
    (2, 24, 6, 3, 2),
    (2, 40, 6, 5, 2),
    (3, 80, 6, 3, 2),
    (3, 112, 6, 5, 1),
    (4, 192, 6, 5, 2),
    (1, 320, 6, 3, 1),
)
"""The widths of Lite0; the paper's table of EfficientNet-B0."""
HANDED_OUT = (1, 2, 4, 6)
"""Stages whose outputs have stride 4, 8, 16 and 32."""
WIDTHS = [STAGES[stage][1] for stage in HANDED_OUT]


class SameConv2d(nn.Conv2d):
    """Convolution whose output has ceil(input / stride) rows: TensorFlow pads more at the bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (self._padding_of(size) for size in x.shape[-2:])
        if rows == columns and rows % 2 == 0:
            return F.conv2d(x, self.weight, self.bias, self.stride, rows // 2, self.dilation, self.groups)
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding_of(self, size: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class DepthwiseSeparable(nn.Module):
    """Depthwise, then 1 x 1 without activation: the first stage's block."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inputs, inputs, kernel, stride, groups=inputs, bias=False)
        self.bn1 = norm(inputs)
        self.conv_pw = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = norm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """Widen by 1 x 1, depthwise, narrow by 1 x 1; a shortcut where input and output are alike."""

    def __init__(
        self, inputs: int, width: int, expansion: int, kernel: int, stride: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.has_shortcut = inputs == width and stride == 1
        self.conv_pw = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = norm(hidden)
        self.conv_dw = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self.bn2 = norm(hidden)
        self.conv_pwl = nn.Conv2d(hidden, width, 1, bias=False)
        self.bn3 = norm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.has_shortcut else y  # type: ignore[no-any-return]


class EfficientNetLite0(nn.Module):
    """Four feature maps, of `WIDTHS` channels."""

    def __init__(self, norm: CnnNorm) -> None:
        super().__init__()
        make_norm = norm_maker(norm, EPS)
        self.conv_stem = SameConv2d(3, STEM_WIDTH, 3, 2, bias=False)
        self.bn1 = make_norm(STEM_WIDTH)
        self.blocks = nn.ModuleList()
        inputs = STEM_WIDTH
        for depth, width, expansion, kernel, first_stride in STAGES:
            blocks: list[nn.Module] = []
            for stride in (first_stride, *(1 for _ in range(depth - 1))):
                blocks.append(
                    DepthwiseSeparable(inputs, width, kernel, stride, make_norm)
                    if expansion == 1
                    else InvertedResidual(inputs, width, expansion, kernel, stride, make_norm)
                )
                inputs = width
            self.blocks.append(nn.Sequential(*blocks))
        self._initialise()

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu6(self.bn1(self.conv_stem(images)))
        stages = []
        for stage, blocks in enumerate(self.blocks):
            x = blocks(x)
            if stage in HANDED_OUT:
                stages.append(x)
        return stages

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
