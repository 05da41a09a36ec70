"""Networks of the literature over images, tiny, as one would write them; for tests of tracing."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample: nn.Module | None = None
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """He et al. 2016, of its real depth."""

    def __init__(self, width: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._layer(width, width, 1)
        self.layer2 = self._layer(width, 2 * width, 2)
        self.layer3 = self._layer(2 * width, 4 * width, 2)
        self.layer4 = self._layer(4 * width, 8 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _layer(inner: int, outer: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(inner, outer, stride), BasicBlock(outer, outer))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class InvertedResidual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inner * expand
        self.use_residual = stride == 1 and inner == outer
        self.conv = nn.Sequential(
            nn.Conv2d(inner, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler et al. 2018."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1, bias=False),
            InvertedResidual(4, 4, 1, 2),
            InvertedResidual(4, 6, 2, 2),
            InvertedResidual(6, 6, 1, 2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class UNet(nn.Module):
    """Ronneberger et al. 2015: pads what it joins by sizes that it measures."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = self._double(1, 4), self._double(4, 8)
        self.bottom = self._double(8, 8)
        self.up1 = nn.ConvTranspose2d(8, 8, 2, 2)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.merge1, self.merge2 = self._double(16, 4), self._double(8, 4)
        self.out = nn.Conv2d(4, 2, 1)

    @staticmethod
    def _double(inner: int, outer: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(2, outer), nn.ReLU()
        )

    @staticmethod
    def _joined(small: Tensor, large: Tensor) -> Tensor:
        high = large.size(2) - small.size(2)
        wide = large.size(3) - small.size(3)
        small = functional.pad(small, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return torch.cat((large, small), dim=1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.down1(image)
        second = self.down2(functional.max_pool2d(first, 2))
        bottom = self.bottom(functional.max_pool2d(second, 2))
        second = self.merge1(self._joined(self.up1(bottom), second))
        return self.out(self.merge2(self._joined(self.up2(second), first)))


class ViT(nn.Module):
    """Dosovitskiy et al. 2021: a class token and learned positions."""

    def __init__(self, dim: int = 8, patch: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 2, 16, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(dim))
        self.head = nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(b, -1, -1), x], dim=1)
        x = x + self.pos_embed[:, : x.size(1)]
        return self.head(self.encoder(x)[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(tokens, 8), nn.GELU(), nn.Linear(8, tokens))
        self.channels = nn.Sequential(nn.Linear(dim, 8), nn.GELU(), nn.Linear(8, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).mT).mT
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Tolstikhin et al. 2021."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 16, 8)
        self.blocks = nn.ModuleList(MixerBlock(16, 8) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5)
        x = self.embed(x.reshape(b, -1, c * 16))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=1))


class DenseLayer(nn.Module):
    def __init__(self, inner: int, growth: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inner), nn.Conv2d(inner, growth, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv(functional.relu(self.norm(torch.cat(features, 1))))
        return functional.dropout(x, p=0.2, training=self.training)


class DenseNet(nn.Module):
    """Huang et al. 2017: every layer sees all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.layers = nn.ModuleList(DenseLayer(4 + 3 * index, 3) for index in range(3))
        self.transition = nn.Sequential(nn.BatchNorm2d(13), nn.Conv2d(13, 6, 1), nn.AvgPool2d(2))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(features))
        x = self.transition(torch.cat(features, 1))
        return self.head(functional.adaptive_avg_pool2d(x, (1, 1)).view(x.size(0), -1))


class Fire(nn.Module):
    def __init__(self, inner: int, squeeze: int, outer: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inner, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, outer, 1), nn.Conv2d(squeeze, outer, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.squeeze(x))
        return torch.cat([self.act(self.one(x)), self.act(self.three(x))], 1)


class SqueezeNet(nn.Module):
    """Iandola et al. 2016."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(4, 2, 3),
            Fire(6, 2, 4),
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int, keep: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(1e-1 * torch.ones(dim))
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))
        y = y.permute(0, 3, 1, 2)
        if self.training:  # drops whole branches, row by row
            shape = (y.shape[0],) + (1,) * (y.ndim - 1)
            mask = (self.keep + torch.rand(shape, dtype=y.dtype, device=y.device)).floor_()
            y = y.div(self.keep) * mask
        return x + y


class ConvNeXt(nn.Module):
    """Liu et al. 2022, with stochastic depth."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.blocks = nn.Sequential(ConvNeXtBlock(6, 0.5), ConvNeXtBlock(6, 0.8))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((-2, -1)))


class SqueezeExcitation(nn.Module):
    """Hu et al. 2018."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same")
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.conv(x))
        scale = x.mean(dim=(2, 3))
        scale = torch.sigmoid(self.up(functional.relu(self.down(scale))))
        x = x * scale[:, :, None, None]
        return self.head(torch.amax(x, dim=(2, 3)))


class Inception(nn.Module):
    """Szegedy et al. 2015, with a second classifier while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.b1 = nn.Conv2d(3, 2, 1)
        self.b2 = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, (1, 3), padding=(0, 1)))
        self.b3 = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, 5, padding=2))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 2, 1))
        self.head, self.aux = nn.Linear(10, 5), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        parts = [branch(x) for branch in (self.b1, self.b2, self.b3, self.b4)]
        x = torch.cat(parts, dim=1)
        if self.training:
            return self.head(x.mean(dim=(2, 3))), self.aux(x.amax(dim=(2, 3)))
        return self.head(x.mean(dim=(2, 3)))


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(256, 6)
        )
        self.decode = nn.Sequential(
            nn.Linear(6, 256),
            nn.Unflatten(1, (4, 8, 8)),
            nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        code = self.encode(x)
        return {"image": self.decode(code), "code": code}


class VAE(nn.Module):
    """Kingma and Welling 2014: draws its code while it trains, answers by the mean after."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(12, 6)
        self.mean, self.log_variance = nn.Linear(6, 3), nn.Linear(6, 3)
        self.decode = nn.Linear(3, 12)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        hidden = torch.tanh(self.encode(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        if not self.training:
            return self.decode(mean)
        deviation = torch.exp(0.5 * log_variance)
        code = mean + torch.randn_like(deviation) * deviation
        return self.decode(code), mean, log_variance


class Video(nn.Module):
    """A 3-D CNN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, (3, 3, 3), padding=1)
        self.norm, self.pool = nn.BatchNorm3d(3), nn.MaxPool3d(2)
        self.head = nn.Linear(3, 5)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.pool(functional.elu(self.norm(self.conv(clip))))
        return self.head(x.reshape(*x.shape[:2], -1).mean(-1))


class Capsules(nn.Module):
    """Sabour et al. 2017: routing by agreement, three rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, 3)
        self.weight = nn.Parameter(torch.randn(5, 32, 6, 4) * 0.2)

    @staticmethod
    def squash(x: Tensor) -> Tensor:
        squared = (x**2).sum(-1, keepdim=True)
        return squared / (1 + squared) * x / torch.sqrt(squared + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.squash(self.conv(x).view(x.size(0), -1, 4))
        votes = torch.einsum("coij, boj -> bcoi", self.weight, primary)
        logits = votes.new_zeros(*votes.shape[:3])
        outputs = votes.sum(2)
        for _ in range(3):
            coupling = functional.softmax(logits, dim=1)
            outputs = self.squash((coupling.unsqueeze(-1) * votes).sum(dim=2))
            logits = logits + torch.einsum("bcoi,bci->bco", votes, outputs)
        return outputs.norm(dim=-1)
