"""Small networks of the kinds that users bring, with random weights: between them they use what PyTorch offers for
classifying images, series and tables. Needs PyTorch."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from architectures import (
    ChannelsFirstNorm,
    ConvNextBlock,
    EncoderBlock,
    PatchMerging,
    Permute,
    SwinBlock,
    basic_block,
    bottleneck,
    classifier,
    conv_bn,
    inverted_residual,
)

IMAGE, GREY = (3, 32, 32), (1, 12, 12)


class Function(nn.Module):
    """A plain function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def table() -> nn.Module:
    return nn.Sequential(
        nn.Linear(12, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 3)
    )


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(144, 48), nn.ReLU(), nn.Linear(48, 32), nn.Sigmoid(), nn.Linear(32, 10)
    )


class Normalised(nn.Module):
    """Mean and standard deviation as buffers, a view that asks for the batch size, probabilities at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1))
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        )
        self.head = nn.Linear(200, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body((x - self.mean) / self.std)
        return torch.softmax(self.head(x.view(x.size(0), -1)), dim=1)


def resnet() -> nn.Module:
    stem = [conv_bn(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return classifier([*stem, basic_block(8, 8, 1), basic_block(8, 16, 2), bottleneck(16, 32, 1)], 32, 10)


class Dense(nn.Module):
    """Huang et al. 2017: what came before is joined to what is new."""

    def __init__(self, c: int, growth: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(c + i * growth), nn.ReLU(), nn.Conv2d(c + i * growth, growth, 3, padding=1, bias=False)
            )
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def densenet() -> nn.Module:
    return classifier([conv_bn(3, 8, 3, 2), Dense(8, 4, 3), nn.AvgPool2d(2), Dense(20, 4, 2), nn.ReLU()], 28, 10)


class Branches(nn.Module):
    """Szegedy et al. 2015."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_bn(c, 4, 1),
                nn.Sequential(conv_bn(c, 4, 1), conv_bn(4, 4, 5)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), conv_bn(c, 4, 1)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(c, 4, (1, 7), padding=(0, 3)), nn.ReLU()),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception() -> nn.Module:
    return classifier(
        [conv_bn(3, 8, 3, 2), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True), Branches(8), Branches(16)],
        16,
        10,
    )


def shufflenet() -> nn.Module:
    """Zhang et al. 2018: grouped convolutions with their channels shuffled between."""
    shuffle = Function(lambda x: x.reshape(x.shape[0], 2, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape))
    return classifier(
        [
            conv_bn(3, 8, 3, 2),
            conv_bn(8, 16, 1, groups=2),
            shuffle,
            conv_bn(16, 16, 3, 2, groups=16, act=None),
            conv_bn(16, 16, 1, groups=2),
        ],
        16,
        10,
    )


def mobilenet_v2() -> nn.Module:
    block = partial(inverted_residual, k=3, act=nn.ReLU6, excite=False)
    return classifier(
        [
            conv_bn(3, 8, 3, 2, act=nn.ReLU6),
            block(8, 8, 1, expand=1),
            block(8, 12, 2, expand=4),
            block(12, 12, 1, expand=4),
        ],
        12,
        10,
    )


class HardSqueezeExcite(nn.Module):
    """Howard et al. 2019."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.pool, self.down, self.up = nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.hardsigmoid(self.up(functional.relu(self.down(self.pool(x)))))


def mobilenet_v3() -> nn.Module:
    return classifier(
        [
            conv_bn(3, 8, 3, 2, act=nn.Hardswish),
            conv_bn(8, 16, 1, act=nn.Hardswish),
            conv_bn(16, 16, 5, 2, groups=16, act=nn.Hardswish),
            HardSqueezeExcite(16),
            conv_bn(16, 12, 1, act=None),
        ],
        12,
        10,
    )


def efficientnet() -> nn.Module:
    block = partial(inverted_residual, act=nn.SiLU, excite=True)
    return classifier(
        [
            conv_bn(3, 8, 3, 2, act=nn.SiLU),
            block(8, 8, 1, expand=1, k=3),
            block(8, 12, 2, expand=4, k=5),
            block(12, 12, 1, expand=4, k=3),
        ],
        12,
        10,
    )


def convnext() -> nn.Module:
    layers = [nn.Conv2d(3, 12, 4, 4), ChannelsFirstNorm(12, eps=1e-6), ConvNextBlock(12), ConvNextBlock(12)]
    layers += [ChannelsFirstNorm(12, eps=1e-6), nn.Conv2d(12, 24, 2, 2), ConvNextBlock(24), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.LayerNorm(24, eps=1e-6), nn.Linear(24, 10))


class VisionTransformer(nn.Module):
    def __init__(self, c: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, c, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, c) * 0.02)
        self.position = nn.Parameter(torch.randn(1, 17, c) * 0.02)
        self.blocks = nn.Sequential(EncoderBlock(c, 2), EncoderBlock(c, 2))
        self.norm, self.head = nn.LayerNorm(c), nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Encoder(nn.Module):
    """PyTorch's own encoder layers, tokens pooled by their mean."""

    def __init__(self, c: int = 24) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, c, 8, 8)
        layer = nn.TransformerEncoderLayer(c, 2, 48, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.patches(x).flatten(2).permute(0, 2, 1)).mean(1))


class Pooled(nn.Module):
    """nn.MultiheadAttention with one learnt query, as attention pooling does."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, c, 8, 8)
        self.query = nn.Parameter(torch.randn(1, 1, c))
        self.attention = nn.MultiheadAttention(c, 2, batch_first=True)
        self.head = nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        pooled, _ = self.attention(self.query.expand(x.shape[0], -1, -1), tokens, tokens)
        return self.head(pooled.squeeze(1))


class Mixed(nn.Module):
    """Attention as two einsums, and the tanh form of GELU."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.patches, self.qkv = nn.Conv2d(3, c, 8, 8), nn.Linear(c, 3 * c)
        self.norm, self.gelu, self.head = nn.LayerNorm(c, elementwise_affine=False), nn.GELU("tanh"), nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        scores = torch.softmax(torch.einsum("bic,bjc->bij", q, k) / 4, dim=-1)
        mixed = self.gelu(torch.einsum("bij,bjc->bic", scores, v))
        return self.head(torch.amax(mixed + tokens, dim=1))


def swin() -> nn.Module:
    layers = [nn.Conv2d(3, 12, 4, 4), Permute(0, 2, 3, 1), nn.LayerNorm(12)]
    layers += [SwinBlock(12, 2, 8, 0, window=4), SwinBlock(12, 2, 8, 2, window=4), PatchMerging(12)]
    return classifier([*layers, SwinBlock(24, 2, 4, 0, window=4), nn.LayerNorm(24), Permute(0, 3, 1, 2)], 24, 10)


def normalisations() -> nn.Module:
    return classifier(
        [
            nn.Conv2d(3, 8, 3, 2),
            nn.GroupNorm(2, 8),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 3, groups=2, dilation=2),
            nn.InstanceNorm2d(8, affine=True),
            nn.LeakyReLU(0.1),
            nn.Conv2d(8, 8, 3, padding="same"),
            nn.InstanceNorm2d(8),
            nn.GroupNorm(1, 8),
            nn.LayerNorm((8, 11, 11)),
            nn.ReLU(),
        ],
        8,
        10,
    )


def activations() -> nn.Module:
    kinds: list[type] = [nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Softsign, nn.Mish, nn.Hardtanh, nn.LogSigmoid]
    kinds += [nn.Tanhshrink, nn.Softshrink, nn.Hardsigmoid, nn.PReLU]
    layers: list[nn.Module] = [conv_bn(3, 8, 3, 2, act=None)]
    for kind in kinds:
        layers += [kind(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)]
    return classifier([*layers, nn.GLU(1)], 4, 10)


def hourglass() -> nn.Module:
    """Down and up again: every way to enlarge and to pad."""
    up = [partial(functional.interpolate, scale_factor=2, mode=mode) for mode in ("nearest", "bilinear", "bicubic")]
    return classifier(
        [
            nn.ReflectionPad2d(2),
            nn.Conv2d(3, 8, 5, 4),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 8, 3, 2, padding=1, output_padding=1, groups=2),
            nn.ReLU(),
            Function(up[0]),
            nn.Conv2d(8, 8, 3, 2, padding=1, padding_mode="replicate"),
            Function(up[1]),
            nn.Conv2d(8, 8, 3, 4, padding=1, padding_mode="circular"),
            Function(up[2]),
            nn.ReLU(),
            nn.PixelShuffle(2),
            nn.PixelUnshuffle(2),
            nn.BatchNorm2d(8),
            Function(lambda x: functional.interpolate(x, size=(6, 6), mode="bilinear", align_corners=True)),
        ],
        8,
        10,
    )


class Pooling(nn.Module):
    """Pools that are not global, and scores that are cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 8, 3, 2), nn.LPPool2d(2, 2), nn.AvgPool2d(3, 2, ceil_mode=True))
        self.mean, self.largest = nn.AdaptiveAvgPool2d((2, 2)), nn.AdaptiveMaxPool2d(1)
        self.head, self.weight = nn.Linear(40, 16), nn.Parameter(torch.randn(10, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        features = torch.cat([self.mean(x).flatten(1), self.largest(x).flatten(1)], 1)
        embedded = functional.normalize(self.head(features), dim=1)
        return 8 * embedded @ functional.normalize(self.weight, dim=1).t()


class Distances(nn.Module):
    """Scores are distances to prototypes, as in few-shot learning: broadcasting, powers, a root, a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU())
        self.prototypes = nn.Parameter(torch.randn(10, 16))

    def forward(self, x: Tensor) -> Tensor:
        distance = (self.body(x)[:, None] - self.prototypes).pow(2).sum(-1).add(1e-6).sqrt()
        return functional.log_softmax(-torch.log1p(distance).clamp(0, 20) - distance, dim=-1)


def series() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, 2, padding=2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, dilation=2),
        nn.GELU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def volume() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(32, 4)
    )


class Recurrent(nn.Module):
    """The last state of an LSTM over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(12, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x.squeeze(1))
        return self.head(states[:, -1])


# name -> (factory, shape of one example)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "table": (table, (12,)),
    "mlp": (mlp, GREY),
    "normalised": (Normalised, IMAGE),
    "resnet": (resnet, IMAGE),
    "densenet": (densenet, IMAGE),
    "inception": (inception, IMAGE),
    "shufflenet": (shufflenet, IMAGE),
    "mobilenet_v2": (mobilenet_v2, IMAGE),
    "mobilenet_v3": (mobilenet_v3, IMAGE),
    "efficientnet": (efficientnet, IMAGE),
    "convnext": (convnext, IMAGE),
    "vit": (VisionTransformer, IMAGE),
    "encoder": (Encoder, IMAGE),
    "einsum": (Mixed, IMAGE),
    "attention_pool": (Pooled, IMAGE),
    "swin": (swin, IMAGE),
    "normalisations": (normalisations, IMAGE),
    "activations": (activations, IMAGE),
    "hourglass": (hourglass, IMAGE),
    "pooling": (Pooling, IMAGE),
    "distances": (Distances, GREY),
    "series": (series, (3, 32)),
    "volume": (volume, (1, 12, 12, 12)),
    "lstm": (Recurrent, GREY),
}


def make(name: str) -> tuple[nn.Module, Tensor]:
    """The network in evaluation mode with batch statistics of random inputs, and two such inputs."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    network = build()
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None
    with torch.no_grad():
        network.train()(torch.rand(8, *shape))
    return network.eval(), torch.rand(2, *shape)
