"""The shapes of network that users bring, as plain PyTorch modules with random weights; no torchvision, no download.

Block for block after the papers named beside each; what matters here is the mix of operators and sizes, so that
stochastic depth, dropout and other training-time parts are left out. Needs PyTorch: runs in the peers' environment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """A factory of modules, the shape of one example, and the kind that an aim is stated for."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    kind: str  # dense, depthwise, transformer or mlp
    smooth: bool  # no kink anywhere: gradients can be compared by cosine; else by their signs


def make(name: str, *, seed: int = 0) -> nn.Module:
    """The module in evaluation mode, its weights drawn by `seed`, its batch statistics those of random images."""
    torch.manual_seed(seed)
    architecture = ARCHITECTURES[name]
    module = architecture.build()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    for block in module.modules():
        if isinstance(block, Residual):
            # As after training: residual branches are small beside the trunk, or gradients explode with depth.
            last = [part for part in block.body.modules() if isinstance(part, nn.BatchNorm2d)][-1]
            nn.init.uniform_(last.weight, 0.1, 0.3)
    with torch.no_grad():
        module.train()(torch.rand(4, *architecture.shape))
    return module.eval()


def conv_bn(
    c_in: int, c_out: int, k: int, stride: int = 1, *, groups: int = 1, act: type | None = nn.ReLU
) -> nn.Module:
    conv = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out" if groups == 1 else "fan_in", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), *([act()] if act else []))


class Residual(nn.Module):
    """body(x) + shortcut(x), and an activation after the sum if there is one."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut, self.act = body, shortcut or nn.Identity(), act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.shortcut(x))


def classifier(features: Sequence[nn.Module], width: int, classes: int) -> nn.Module:
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def mlp() -> nn.Module:
    widths = [784, 1024, 1024, 512, 10]
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def vgg(widths: Sequence[int | str], classes: int) -> nn.Module:
    """Simonyan & Zisserman 2015, with batch normalisation."""
    layers: list[nn.Module] = []
    c = 3
    for width in widths:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers.append(conv_bn(c, int(width), 3))
            c = int(width)
    return classifier(layers, c, classes)


def basic_block(c_in: int, c: int, stride: int) -> nn.Module:
    body = nn.Sequential(conv_bn(c_in, c, 3, stride), conv_bn(c, c, 3, act=None))
    return Residual(body, conv_bn(c_in, c, 1, stride, act=None) if stride > 1 or c_in != c else None, nn.ReLU())


def bottleneck(c_in: int, c: int, stride: int) -> nn.Module:
    body = nn.Sequential(
        conv_bn(c_in, c // 4, 1), conv_bn(c // 4, c // 4, 3, stride), conv_bn(c // 4, c, 1, act=None)
    )
    return Residual(body, conv_bn(c_in, c, 1, stride, act=None) if stride > 1 or c_in != c else None, nn.ReLU())


def resnet(block: Callable, depths: Sequence[int], widths: Sequence[int], classes: int, *, small: bool) -> nn.Module:
    """He et al. 2016; `small` is the stem for CIFAR's 32 x 32."""
    c = 64
    layers = [conv_bn(3, c, 3)] if small else [conv_bn(3, c, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for i in range(depth):
            layers.append(block(c, width, 2 if stage > 0 and i == 0 else 1))
            c = width
    return classifier(layers, c, classes)


class SqueezeExcite(nn.Module):
    """Hu et al. 2018."""

    def __init__(self, c: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, squeezed, 1), nn.SiLU(), nn.Conv2d(squeezed, c, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def inverted_residual(c_in: int, c: int, stride: int, *, expand: int, k: int, act: type, excite: bool) -> nn.Module:
    wide = c_in * expand
    body = nn.Sequential(
        *([conv_bn(c_in, wide, 1, act=act)] if expand > 1 else []),
        conv_bn(wide, wide, k, stride, groups=wide, act=act),
        *([SqueezeExcite(wide, max(1, c_in // 4))] if excite else []),
        conv_bn(wide, c, 1, act=None),
    )
    return Residual(body) if stride == 1 and c_in == c else body


def mobilenet_v2() -> nn.Module:
    """Sandler et al. 2018, table 2."""
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers, c = [conv_bn(3, 32, 3, 2, act=nn.ReLU6)], 32
    for expand, width, depth, stride in rows:
        for i in range(depth):
            s = stride if i == 0 else 1
            layers.append(inverted_residual(c, width, s, expand=expand, k=3, act=nn.ReLU6, excite=False))
            c = width
    return classifier([*layers, conv_bn(c, 1280, 1, act=nn.ReLU6)], 1280, 1000)


def efficientnet_b0() -> nn.Module:
    """Tan & Le 2019, table 1."""
    rows = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ]
    layers, c = [conv_bn(3, 32, 3, 2, act=nn.SiLU)], 32
    for expand, width, depth, stride, k in rows:
        for i in range(depth):
            s = stride if i == 0 else 1
            layers.append(inverted_residual(c, width, s, expand=expand, k=k, act=nn.SiLU, excite=True))
            c = width
    return classifier([*layers, conv_bn(c, 1280, 1, act=nn.SiLU)], 1280, 1000)


class ChannelsFirstNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, 7, padding=3, groups=c)
        self.body = nn.Sequential(nn.LayerNorm(c, eps=1e-6), nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))
        self.scale = nn.Parameter(torch.full((c, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.scale * y


def convnext_tiny() -> nn.Module:
    """Liu et al. 2022."""
    widths, depths = [96, 192, 384, 768], [3, 3, 9, 3]
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), ChannelsFirstNorm(widths[0], eps=1e-6)]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i > 0:
            layers += [ChannelsFirstNorm(widths[i - 1], eps=1e-6), nn.Conv2d(widths[i - 1], width, 2, 2)]
        layers += [ConvNextBlock(width) for _ in range(depth)]
    head = nn.Sequential(nn.Flatten(), nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], 1000))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), head)


class Attention(nn.Module):
    """Vaswani et al. 2017; `fused` leaves the product to PyTorch's one function for it."""

    def __init__(self, c: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        n, tokens, c = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            scores = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
            y = torch.softmax(scores if bias is None else scores + bias, dim=-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, tokens, c))


def feed_forward(c: int) -> nn.Module:
    return nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))


class EncoderBlock(nn.Module):
    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(c, eps=1e-6), Attention(c, heads, fused=True)
        self.norm2, self.mlp = nn.LayerNorm(c, eps=1e-6), feed_forward(c)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021; the small size of Touvron et al. 2021."""

    def __init__(self, c: int = 384, heads: int = 6, depth: int = 12, patch: int = 16, size: int = 224) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, c, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, c) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, c) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(c, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(c, eps=1e-6), nn.Linear(c, 1000)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class SwinBlock(nn.Module):
    """Attention inside windows of 7 x 7, shifted by half a window in every second block."""

    def __init__(self, c: int, heads: int, size: int, shift: int, window: int = 7) -> None:
        super().__init__()
        self.size, self.window = size, window
        self.shift = shift if size > window else 0
        self.norm1, self.attention = nn.LayerNorm(c), Attention(c, heads, fused=False)
        self.norm2, self.mlp = nn.LayerNorm(c), feed_forward(c)
        self.relative = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offset = at[:, :, None] - at[:, None, :] + window - 1
        self.register_buffer("index", (offset[0] * (2 * window - 1) + offset[1]).flatten())
        self.register_buffer("mask", self._mask())

    def _mask(self) -> Tensor:
        """Windows that the shift joined from opposite edges must not attend across the seam."""
        region = torch.zeros(self.size, self.size)
        if self.shift:
            edges = [slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None)]
            for i, rows in enumerate(edges):
                for j, columns in enumerate(edges):
                    region[rows, columns] = 3 * i + j
        k = self.size // self.window
        windows = region.reshape(k, self.window, k, self.window).permute(0, 2, 1, 3).reshape(k * k, -1)
        return torch.where(windows[:, None, :] == windows[:, :, None], 0.0, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        k, m = self.size // self.window, self.window
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        y = y.reshape(n, k, m, k, m, c).permute(0, 1, 3, 2, 4, 5).reshape(n * k * k, m * m, c)
        bias = self.relative[self.index].reshape(m * m, m * m, -1).permute(2, 0, 1)
        if self.shift:
            bias = (bias[None] + self.mask[:, None]).repeat(n, 1, 1, 1)
        y = self.attention(y, bias)
        y = y.reshape(n, k, k, m, m, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * c), nn.Linear(4 * c, 2 * c, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


def swin_tiny() -> nn.Module:
    """Liu et al. 2021."""
    c, size = 96, 56
    layers: list[nn.Module] = [nn.Conv2d(3, c, 4, 4), Permute(0, 2, 3, 1), nn.LayerNorm(c)]
    for stage, depth in enumerate([2, 2, 6, 2]):
        if stage > 0:
            layers.append(PatchMerging(c))
            c, size = 2 * c, size // 2
        layers += [SwinBlock(c, 3 * 2**stage, size, 3 * (i % 2)) for i in range(depth)]
    return classifier([*layers, nn.LayerNorm(c), Permute(0, 3, 1, 2)], c, 1000)


IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)
SMALL = partial(resnet, classes=10, small=True)

ARCHITECTURES = {
    "mlp": Architecture(mlp, (1, 28, 28), "mlp", smooth=False),
    "vgg11_cifar": Architecture(
        partial(vgg, [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512], 10), CIFAR, "dense", smooth=False
    ),
    "resnet18_cifar": Architecture(
        partial(SMALL, basic_block, [2, 2, 2, 2], [64, 128, 256, 512]), CIFAR, "dense", smooth=False
    ),
    "resnet18": Architecture(
        partial(resnet, basic_block, [2, 2, 2, 2], [64, 128, 256, 512], 1000, small=False),
        IMAGENET,
        "dense",
        smooth=False,
    ),
    "resnet50": Architecture(
        partial(resnet, bottleneck, [3, 4, 6, 3], [256, 512, 1024, 2048], 1000, small=False),
        IMAGENET,
        "dense",
        smooth=False,
    ),
    "mobilenet_v2": Architecture(mobilenet_v2, IMAGENET, "depthwise", smooth=False),
    "efficientnet_b0": Architecture(efficientnet_b0, IMAGENET, "depthwise", smooth=True),
    "convnext_tiny": Architecture(convnext_tiny, IMAGENET, "depthwise", smooth=True),
    "vit_small": Architecture(VisionTransformer, IMAGENET, "transformer", smooth=True),
    "swin_tiny": Architecture(swin_tiny, IMAGENET, "transformer", smooth=True),
}
