"""Networks of the literature over tables and graphs, tiny, as one would write them."""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class DLRM(nn.Module):
    """Naumov et al. 2019: bags, and dot products of every pair."""

    def __init__(self, sizes: Sequence[int] = (7, 5, 9), dim: int = 4) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(size, dim, mode="sum") for size in sizes)
        self.bottom = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, dim), nn.ReLU())
        pairs = (len(sizes) + 1) * len(sizes) // 2
        self.top = nn.Sequential(nn.Linear(pairs + dim, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x: Tensor, category: Tensor) -> Tensor:
        dense = self.bottom(x)
        looked_up = [table(category[:, i : i + 1]) for i, table in enumerate(self.tables)]
        features = torch.stack([dense, *looked_up], dim=1)
        products = torch.bmm(features, features.transpose(1, 2))
        _, n, _ = products.shape
        rows, columns = torch.tril_indices(n, n, offset=-1)
        return self.top(torch.cat([dense, products[:, rows, columns]], dim=1))


class MatrixFactorisation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(8, 4), nn.Embedding(9, 4)
        self.user_bias, self.item_bias = nn.Embedding(8, 1), nn.Embedding(9, 1)
        self.mean = nn.Parameter(torch.tensor(3.5))

    def forward(self, category: Tensor) -> Tensor:
        user, item = category.clamp(min=0).unbind(dim=1)
        dot = (self.user(user) * self.item(item)).sum(-1, keepdim=True)
        return dot + self.user_bias(user) + self.item_bias(item) + self.mean


class WideDeep(nn.Module):
    """Cheng et al. 2016."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"city": nn.Embedding(5, 3), "day": nn.Embedding(7, 3)})
        self.wide, self.deep = nn.Linear(12, 1), nn.Sequential(nn.Linear(10, 6), nn.Mish())
        self.out = nn.Linear(6, 1)

    def forward(self, x: Tensor, category: Tensor) -> Tensor:
        one_hot = [
            functional.one_hot(category[:, i], size).float() for i, size in enumerate((5, 7))
        ]
        wide = self.wide(torch.cat(one_hot, -1))
        looked_up = (table(category[:, i]) for i, table in enumerate(self.embeddings.values()))
        deep = self.deep(torch.cat([x, *looked_up], -1))
        return wide + self.out(deep)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        self.similarity = nn.CosineSimilarity()

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        a, b = self.net(left), self.net(right)
        distance = functional.pairwise_distance(a, b, keepdim=True)
        return {"similarity": self.similarity(a, b), "distance": distance}


class Highway(nn.Module):
    """Srivastava et al. 2015."""

    def __init__(self, dim: int = 6, depth: int = 3) -> None:
        super().__init__()
        self.plain = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.gates = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.head = nn.Linear(dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.plain)):
            gate = self.gates[i](x).sigmoid()
            x = gate * self.plain[i](x).relu() + (1 - gate) * x
        return self.head(x)


class BilinearNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(3, 3, 4)
        self.prelu, self.head = nn.PReLU(4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.split(x, [3, x.size(1) - 3], dim=1)
        return self.head(self.prelu(self.bilinear(left, right)))


class FiLM(nn.Module):
    """Perez et al. 2018; the trunk is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.film, self.head = nn.Linear(4, 6), nn.Linear(2, 12), nn.Linear(6, 3)
        self.trunk.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gamma, beta = self.film(condition).chunk(2, -1)
        h = self.trunk(x) * gamma
        h += beta
        return self.head(torch.clamp(h, -3, 3))


class Experts(nn.Module):
    """Jacobs et al. 1991: a soft mixture, and the two best alone."""

    def __init__(self, count: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(5, count)
        self.weight = nn.Parameter(torch.randn(count, 5, 3) * 0.3)
        self.bias = nn.Parameter(torch.zeros(count, 3))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x)
        best = scores.topk(2, dim=-1).values[..., -1, None]
        weights = torch.softmax(scores.masked_fill(scores < best, float("-inf")), dim=-1)
        answers = torch.einsum("bi,eio->beo", x, self.weight) + self.bias
        return torch.einsum("be,beo->bo", weights, answers)


class GraphConvolution(nn.Module):
    """Kipf and Welling 2017, of a dense adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        n = adjacency.size(-1)
        a = (adjacency + adjacency.transpose(-1, -2)).gt(0.5).float() + torch.eye(n)
        degree = a.sum(-1).clamp_min(1).rsqrt()
        a = degree.unsqueeze(-1) * a * degree.unsqueeze(-2)
        h = functional.leaky_relu(a @ self.first(nodes), 0.1)
        return (a @ self.second(h)).mean(dim=1)


class DeepCross(nn.Module):
    """Wang et al. 2017."""

    def __init__(self, dim: int = 5) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(dim, 1) * 0.3) for _ in range(2))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(dim)) for _ in range(2))
        self.deep = nn.Sequential(nn.Linear(dim, 6), nn.BatchNorm1d(6), nn.SELU())
        self.head = nn.Linear(dim + 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        crossed = x
        for weight, bias in zip(self.weights, self.biases, strict=True):
            crossed = x * torch.matmul(crossed, weight) + bias + crossed
        return self.head(torch.cat((crossed, self.deep(x)), dim=1))


class Standardised(nn.Module):
    """Constants, a buffer, a plain attribute, and a part without gradients."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([1.0, 2.0, 3.0]))
        self.scale = torch.tensor([2.0, 1.0, 0.5])
        self.net, self.frozen = nn.Linear(3, 4), nn.Linear(3, 4)
        self.spare = nn.Linear(2, 2)  # never called

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.scale * torch.tensor([1.0, -1.0, 1.0])
        with torch.no_grad():
            teacher = self.frozen(x)
        return self.net(x) + 0.1 * teacher
