"""Market encoder: a window of features becomes an embedding, each bar at most once.

The market features that a price taker sees do not depend on what it does, so the embedding of bar
``t`` is the same in every environment that stands there. Three paths compute it:

* **series**: a causal convolution over the whole span; windows never exist in memory;
* **unique**: the windows of a batch's distinct bars only;
* **window**: one window for each row of the batch, as a peer's network receives it.

They are the same function, and so are their gradients; ``MarketEncoder.table`` takes the cheapest.

Where nothing is shared (each environment plays a market of its own, whose features are part of what
it observes) there is nothing to encode: ``NoEncoder``.
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

EncoderPath = Literal["series", "unique", "window"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EncoderConfig:
    """Size of the market encoder."""

    window: Annotated[int, Field(ge=1)] = 10
    """Bars that a window holds, the current one included, >= 1."""
    channels: Annotated[int, Field(ge=1)] = 16
    """Width of the projection of a single bar, >= 1."""
    hidden: Annotated[int, Field(ge=1)] = 64
    """Width of the layer that looks over the window, >= 1."""
    embedding: Annotated[int, Field(ge=1)] = 64
    """Width E of the embedding, >= 1."""


class EncodingPlan(NamedTuple):
    """The path that a batch's bars take, and the span (bars, both included) that holds them."""

    path: EncoderPath
    first: int
    last: int


class MarketEncoder(nn.Module):
    """Three layers: each bar alone, the window, the embedding.

        p_s = relu(P x_s + p)                      for each bar s, C -> channels
        h_t = relu(sum_w K_w p_{t-W+1+w} + k)      over the window, W * channels -> hidden
        z_t = relu(E h_t + e)                      hidden -> embedding

    Bars before the first one count as rows of zeros, in all paths.

    Args:
        config: sizes.
        num_features: features C of a bar.
        generator: source of the initial weights (orthogonal, gain sqrt 2; zero biases).
    """

    def __init__(
        self, config: EncoderConfig, num_features: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.num_features = num_features
        self.project = nn.Linear(num_features, config.channels)
        self.temporal = nn.Linear(config.window * config.channels, config.hidden)
        self.embed = nn.Linear(config.hidden, config.embedding)
        for layer in (self.project, self.temporal, self.embed):
            initialise(layer, gain=2.0**0.5, generator=generator)

    def encode_series(self, features_TC: Tensor) -> Tensor:
        """Embed every bar of a span by a causal convolution.

        Args:
            features_TC: features (T, C), oldest bar first.

        Returns:
            Embeddings (T, E); row t depends on rows t - W + 1 .. t only.
        """
        config = self.config
        padded = functional.pad(features_TC, (0, 0, config.window - 1, 0))
        bars_cT = functional.relu_(self.project(padded)).T
        kernel = self.temporal.weight.view(config.hidden, config.window, config.channels)
        hidden_HT = functional.conv1d(bars_cT[None], kernel.permute(0, 2, 1), self.temporal.bias)[0]
        return functional.relu_(self.embed(functional.relu_(hidden_HT.T)))

    def encode_windows(self, windows_BWC: Tensor) -> Tensor:
        """Embed windows (B, W, C), oldest bar first; returns (B, E)."""
        bars_BWc = functional.relu_(self.project(windows_BWC))
        hidden_BH = functional.relu_(self.temporal(bars_BWc.flatten(start_dim=1)))
        return functional.relu_(self.embed(hidden_BH))

    def encode_bars(self, features_TC: Tensor, bars_B: Tensor) -> Tensor:
        """Embed the bars ``bars_B`` (int64) of ``features_TC`` through windows; returns (B, E)."""
        return self.encode_windows(gather_windows(features_TC, bars_B, self.config.window))

    def table(
        self, features_TC: Tensor, bars_B: Tensor, plan: EncodingPlan | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embed the bars of a batch by the cheapest path.

        Args:
            features_TC: features (T, C).
            bars_B: bar of each row, int64, 0 <= bar < T.
            plan: decided before, for a set of bars that holds these; otherwise decided here.

        Returns:
            Embeddings (U, E) and for each row of the batch its row in them, int64 (B,).
        """
        plan = plan or self.plan(bars_B)
        if plan.path == "series":
            start = max(0, plan.first - self.config.window + 1)
            embeddings = self.encode_series(features_TC[start : plan.last + 1])
            return embeddings, bars_B - start
        if plan.path == "unique":
            distinct, rows = torch.unique(bars_B, return_inverse=True)
            return self.encode_bars(features_TC, distinct), rows
        rows = torch.arange(len(bars_B), device=bars_B.device)
        return self.encode_bars(features_TC, bars_B), rows

    def plan(self, bars_B: Tensor, batch_size: int | None = None) -> EncodingPlan:
        """Compare multiply-adds: the span once, the distinct windows, or every row's window.

        Args:
            bars_B: bars of a batch, int64, at least one.
            batch_size: decide for random batches of this size drawn from ``bars_B``, so that one
                decision serves all minibatches of a rollout.
        """
        size = min(batch_size or len(bars_B), len(bars_B))
        first, last = int(bars_B.min()), int(bars_B.max())
        series = self.series_cost(last - first + self.config.window)
        distinct = expected_distinct(bars_B, size)
        if series <= self.window_cost(distinct):
            return EncodingPlan("series", first, last)
        return EncodingPlan("unique" if distinct < 0.95 * size else "window", first, last)

    def series_cost(self, num_bars: int) -> int:
        """Multiply-adds of the series path over ``num_bars`` bars."""
        return num_bars * (self.num_features * self.config.channels + self._cost_after_projection())

    def window_cost(self, num_windows: float) -> float:
        """Multiply-adds of the window path over ``num_windows`` windows."""
        projection = self.config.window * self.num_features * self.config.channels
        return num_windows * (projection + self._cost_after_projection())

    def _cost_after_projection(self) -> int:
        config = self.config
        return config.hidden * (config.window * config.channels + config.embedding)


class NoEncoder(nn.Module):
    """Stands where an encoder would, with embeddings of width 0 and without parameters.

    Everything is in the account observation, features are ``(0, 0)`` and bars mean nothing.
    """

    def encode_series(self, features_TC: Tensor) -> Tensor:
        """Nothing for each bar, (T, 0)."""
        return features_TC.new_empty(len(features_TC), 0)

    def encode_windows(self, windows_BWC: Tensor) -> Tensor:
        """Nothing for each window, (B, 0)."""
        return windows_BWC.new_empty(len(windows_BWC), 0)

    def table(
        self, features_TC: Tensor, bars_B: Tensor, plan: EncodingPlan | None = None
    ) -> tuple[Tensor, Tensor]:
        """Nothing for no bar, (0, 0), and the bars, which no one looks up."""
        del plan
        return features_TC.new_empty(0, 0), bars_B

    def plan(self, bars_B: Tensor, batch_size: int | None = None) -> EncodingPlan:
        """The path that takes nothing from any bar."""
        del bars_B, batch_size
        return EncodingPlan("window", 0, 0)


def gather_windows(features_TC: Tensor, bars_B: Tensor, window: int) -> Tensor:
    """Copy the windows that end at ``bars_B``; bars before the first are zeros.

    Args:
        features_TC: features (T, C).
        bars_B: last bar of each window, int64.
        window: bars W of a window.

    Returns:
        Windows (B, W, C), oldest bar first.
    """
    offsets_W = torch.arange(1 - window, 1, device=bars_B.device)
    index_BW = bars_B[:, None] + offsets_W
    windows = features_TC[index_BW.clamp(min=0)]
    return windows.masked_fill_((index_BW < 0)[..., None], 0.0)


def initialise(layer: nn.Linear, *, gain: float, generator: torch.Generator) -> None:
    """Set orthogonal weights with ``gain`` (Saxe et al. 2014, arXiv:1312.6120) and zero biases."""
    nn.init.orthogonal_(layer.weight, gain, generator)
    nn.init.zeros_(layer.bias)


def expected_distinct(bars_B: Tensor, batch_size: int) -> float:
    """Expected number of distinct bars among ``batch_size`` of ``bars_B``, drawn at random.

    E = sum_i 1 - (1 - c_i / B)^batch_size over the distinct bars i with counts c_i; the exact
    count when the batch is all of them.
    """
    _, counts = torch.unique(bars_B, return_counts=True)
    if batch_size >= len(bars_B):
        return float(len(counts))
    missed = torch.log1p(-(counts.double() / len(bars_B)).clamp(max=1 - 1e-12)) * batch_size
    return float(-torch.expm1(missed).sum())
