"""Networks of the literature over sequences, tiny, as one would write them, for tests."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 11


class PositionalEncoding(nn.Module):
    """Vaswani et al. 2017; a table that is not saved."""

    table: Tensor

    def __init__(self, dim: int, length: int = 32) -> None:
        super().__init__()
        position = torch.arange(length).unsqueeze(1)
        rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
        table = torch.zeros(length, dim)
        table[:, 0::2], table[:, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.size(1)]


class TransformerClassifier(nn.Module):
    """Masks what is padding, and averages over what is not."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.embed = nn.Embedding(VOCABULARY, dim, padding_idx=0)
        self.position = PositionalEncoding(dim)
        layer = nn.TransformerEncoderLayer(dim, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == 0
        x = self.position(self.embed(tokens) * math.sqrt(self.dim))
        x = self.encoder(x, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).float()
        return self.head((x * kept).sum(1) / kept.sum(1).clamp(min=1))


class Seq2Seq(nn.Module):
    """nn.Transformer with a causal mask that is made as long as it is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.net = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.out = nn.Linear(8, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        n = target.size(1)
        mask = torch.triu(torch.full((n, n), float("-inf"), device=target.device), diagonal=1)
        x = self.net(self.embed(source), self.embed(target), tgt_mask=mask)
        return self.out(x)


class LSTMClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 6)
        self.lstm = nn.LSTM(6, 5, num_layers=2, batch_first=True, bidirectional=True, dropout=0.3)
        self.head = nn.Linear(10, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        h0 = torch.zeros(4, tokens.size(0), 5).to(tokens.device)
        c0 = torch.zeros(4, tokens.size(0), 5).to(tokens.device)
        _, (hidden, _) = self.lstm(self.embed(tokens), (h0, c0))
        return self.head(torch.cat((hidden[-2], hidden[-1]), dim=1))


class GRUForecast(nn.Module):
    """Forecasts four steps by feeding its own answers back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(3, 6, batch_first=True)
        self.cell = nn.GRUCell(1, 6)
        self.out = nn.Linear(6, 1)

    def forward(self, series: Tensor) -> Tensor:
        _, state = self.encoder(series)
        hidden, last = state.squeeze(0), series[:, -1, :1]
        answers = []
        for _ in range(4):
            hidden = self.cell(last, hidden)
            last = last + self.out(hidden)
            answers.append(last)
        return torch.stack(answers, dim=1).squeeze(-1)


class Conv1dNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(3, 6, 5, padding="same", padding_mode="circular"),
            nn.BatchNorm1d(6),
            nn.Hardswish(),
            nn.MaxPool1d(2),
            nn.Dropout1d(0.2),
        )
        self.head = nn.Linear(6, 3)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.layers(series.transpose(1, 2)).max(dim=-1).values)


class CausalConv(nn.Conv1d):
    """A class of one's own over a permitted one, with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        left = (self.kernel_size[0] - 1) * self.dilation[0]
        return super().forward(functional.pad(input, (left, 0)))


class WaveNet(nn.Module):
    """Van den Oord et al. 2016: gated, dilated, causal."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Conv1d(3, 4, 1)
        self.gates = nn.ModuleList(CausalConv(4, 8, 2, dilation=2**index) for index in range(3))
        self.skips = nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(3))
        self.output = nn.Conv1d(4, 2, 1)

    def forward(self, series: Tensor) -> Tensor:
        x = self.input(series.permute(0, 2, 1))
        total: Tensor | int = 0
        for gate, skip in zip(self.gates, self.skips, strict=True):
            filtered, gated = gate(x).chunk(2, dim=1)
            y = skip(torch.tanh(filtered) * torch.sigmoid(gated))
            x, total = x + y, total + y
        return self.output(functional.relu(total))[..., -1]  # pyright: ignore[reportArgumentType]


class TemporalBlock(nn.Module):
    def __init__(self, inner: int, outer: int, dilation: int) -> None:
        super().__init__()
        self.cut = 2 * dilation
        self.conv = nn.Conv1d(inner, outer, 3, padding=self.cut, dilation=dilation)
        self.dropout = nn.Dropout(0.1)
        self.downsample = nn.Conv1d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.dropout(functional.relu(self.conv(x)[:, :, : -self.cut].contiguous()))
        return functional.relu(out + self.downsample(x))


class TCN(nn.Module):
    """Bai et al. 2018."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(TemporalBlock(3, 5, 1), TemporalBlock(5, 5, 2))
        self.head = nn.Linear(5, 2)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.network(series.mT)[:, :, -1])


class GPTBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim, bias=False)
        self.c_attn, self.c_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU("tanh"), nn.Linear(2 * dim, dim))
        self.heads, self.dropout = heads, 0.1

    def attention(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in (q, k, v))
        y = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Radford et al. 2019; the output layer is the embedding."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(VOCABULARY, dim),
                "wpe": nn.Embedding(16, dim),
                "h": nn.ModuleList(GPTBlock(dim, 2) for _ in range(2)),
                "ln_f": nn.LayerNorm(dim),
            }
        )
        self.lm_head = nn.Linear(dim, VOCABULARY, bias=False)
        self.lm_head.weight = self.embedding.weight

    @property
    def embedding(self) -> nn.Embedding:
        found = self.transformer["wte"]
        assert isinstance(found, nn.Embedding)
        return found

    def forward(self, tokens: Tensor) -> Tensor:
        _, t = tokens.size()
        if t > 16:
            raise ValueError(f"{t} tokens are too many")
        pos = torch.arange(0, t, dtype=torch.long, device=tokens.device)
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](pos)
        for block in self.transformer["h"]:  # pyright: ignore[reportGeneralTypeIssues]
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x)[:, [-1], :])


class MaskedFusion(nn.Module):
    """Gates and masks of a temporal fusion network (Lim et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.1)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 1)

    def forward(self, series: Tensor) -> Tensor:
        known = torch.isfinite(series)
        x = torch.where(known, series, torch.zeros_like(series))
        x = functional.glu(self.gate(x), dim=-1)
        n = x.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool).triu(1)
        mixed, _ = self.attention(x, x, x, attn_mask=causal, need_weights=False)
        x = self.norm(x + mixed)
        weight = known.any(dim=-1, keepdim=True).float()
        x = x.masked_fill(weight == 0, -1e9)
        pooled = torch.softmax(x, dim=1)
        return self.head((pooled * weight).sum(dim=1))


class AttentionPooling(nn.Module):
    """Bahdanau et al. 2015."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 5, nonlinearity="relu", batch_first=True)
        self.score, self.head = nn.Linear(5, 1, bias=False), nn.Linear(5, 2)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.rnn(series)
        weights = torch.softmax(self.score(torch.tanh(states)).squeeze(-1), dim=-1)
        context = torch.bmm(weights.unsqueeze(1), states)[:, 0]
        return self.head(context), weights
