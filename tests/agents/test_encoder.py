"""The three paths of the market encoder are one function, with one gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.encoder import (
    EncoderConfig,
    EncoderPath,
    EncodingPlan,
    MarketEncoder,
    expected_distinct,
    gather_windows,
)

CONFIG = EncoderConfig(window=5, channels=3, hidden=8, embedding=6)


def make(num_features: int = 4, config: EncoderConfig = CONFIG) -> MarketEncoder:
    return MarketEncoder(config, num_features, torch.Generator().manual_seed(3))


def series(num_bars: int, num_features: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_bars, num_features, generator=torch.Generator().manual_seed(seed))


def encode(
    encoder: MarketEncoder, features: torch.Tensor, bars: torch.Tensor, path: EncoderPath
) -> torch.Tensor:
    plan = EncodingPlan(path, int(bars.min()), int(bars.max()))
    embedding, rows = encoder.table(features, bars, plan)
    return embedding[rows]


@settings(max_examples=25, deadline=None)
@given(
    window=st.integers(1, 7),
    num_bars=st.integers(1, 40),
    batch=st.integers(1, 30),
    seed=st.integers(0, 2**16),
)
def test_paths_agree_in_value_and_gradient(
    window: int, num_bars: int, batch: int, seed: int
) -> None:
    encoder = make(config=EncoderConfig(window=window, channels=3, hidden=8, embedding=6))
    features = series(num_bars, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    bars = torch.randint(0, num_bars, (batch,), generator=generator)
    weights = torch.randn(batch, 6, generator=generator) / batch
    results: list[tuple[torch.Tensor, torch.Tensor]] = []
    for path in ("series", "unique", "window"):
        encoder.zero_grad()
        output = encode(encoder, features, bars, path)
        torch.autograd.backward((output * weights).sum())
        gradients = torch.cat(
            [p.grad.flatten() for p in encoder.parameters() if p.grad is not None]
        )
        results.append((output.detach(), gradients))
    for output, gradients in results[1:]:
        torch.testing.assert_close(output, results[0][0], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gradients, results[0][1], atol=1e-6, rtol=1e-5)


def test_default_size_agrees_to_a_millionth() -> None:
    encoder = make(52, EncoderConfig())
    features, bars = series(300, 52), torch.arange(40, 300)
    whole = encoder.encode_series(features)[40:].detach()
    windows = encoder.encode_windows(gather_windows(features, bars, EncoderConfig().window))
    assert (whole - windows).abs().max() < 1e-6 * max(1.0, float(whole.abs().max()))


def test_golden_by_hand() -> None:
    encoder = MarketEncoder(
        EncoderConfig(window=2, channels=1, hidden=1, embedding=1), 1, torch.Generator()
    )
    with torch.no_grad():
        for layer, weight, bias in (
            (encoder.project, [[2.0]], [1.0]),
            (encoder.temporal, [[10.0, 1.0]], [0.0]),
            (encoder.embed, [[1.0]], [-3.0]),
        ):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
    # x = 1, 3; before it 0. p = relu(2x + 1) = (1), 3, 7.
    # h_0 = 10 * 1 + 3 = 13, h_1 = 10 * 3 + 7 = 37; z = h - 3.
    embedding = encoder.encode_series(torch.tensor([[1.0], [3.0]]))
    assert embedding.tolist() == [[10.0], [34.0]]


def test_later_bars_do_not_change_earlier_embeddings() -> None:
    encoder, features = make(), series(30)
    changed = features.clone()
    changed[20:] = 1e6
    before, after = encoder.encode_series(features), encoder.encode_series(changed)
    assert torch.equal(before[:20], after[:20])
    assert not torch.equal(before[20:], after[20:])


@pytest.mark.parametrize(
    ("bars", "path"),
    [
        (torch.arange(100), "series"),  # each bar once, side by side
        (torch.tensor([5, 90_000, 5, 90_000, 5]), "unique"),  # few bars of a long span, repeated
        (torch.tensor([5, 90_000]), "window"),  # few bars of a long span, each once
        (torch.tensor([7]), "window"),
    ],
)
def test_cheapest_path(bars: torch.Tensor, path: EncoderPath) -> None:
    assert make().plan(bars).path == path


def test_plan_for_minibatches_uses_the_expected_number_of_distinct_bars() -> None:
    encoder = make()
    bars = torch.arange(10_000).repeat(2)
    assert encoder.plan(bars).path == "series"
    assert encoder.plan(bars, batch_size=64).path == "window"


def test_expected_distinct() -> None:
    # Two bars, three samples each: 2 draws of 6 miss a given bar with probability 1/4.
    assert expected_distinct(torch.tensor([1, 1, 1, 2, 2, 2]), 2) == pytest.approx(1.5)
    assert expected_distinct(torch.tensor([1, 1, 2]), 3) == 2.0
    assert expected_distinct(torch.tensor([4]), 9) == 1.0


def test_windows_before_the_first_bar_are_zeros() -> None:
    windows = gather_windows(torch.arange(1.0, 4.0)[:, None], torch.tensor([0, 2]), 3)
    assert windows[..., 0].tolist() == [[0.0, 0.0, 1.0], [1.0, 2.0, 3.0]]


def test_same_generator_same_weights_and_no_global_randomness() -> None:
    state = torch.get_rng_state()
    first = make()
    np.testing.assert_array_equal(
        first.project.weight.detach().numpy(), make().project.weight.detach().numpy()
    )
    assert torch.count_nonzero(first.embed.bias) == 0
    torch.set_rng_state(state)
