"""A gated recurrent unit whose state is carried from bar to bar, with the market's share apart.

Training sees one bar at a time. The state before a bar is stored with it and taken as given, as
the weights before are, so a gradient passes through the unit once and reaches **one bar back
only**: what is read of the past is learned, and how the bar's own observation enters the state
where it helps in that bar; that something will matter later is not. A stored state is of the
parameters that played it and not of those that are trained (Kapturowski et al. 2019, "Recurrent
Experience Replay in Distributed Reinforcement Learning", ICLR: stored state and its staleness). A
rollout is used for one update, which keeps the difference small, not zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class RecurrentUnit(nn.GRUCell):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) over [embedding (E), account (P)].

    Weights are orthogonal, a gate at a time; biases are zero.

    Args:
        embedding: width E of the market embedding; 0 = none.
        account_size: numbers P of the account state.
        units: width M of the state.
        generator: source of the initial weights.
    """

    def __init__(
        self, embedding: int, account_size: int, units: int, generator: torch.Generator
    ) -> None:
        super().__init__(embedding + account_size, units)
        self.embedding = embedding
        with torch.no_grad():
            for weight in (self.weight_ih, self.weight_hh):
                for gate in torch.split(weight, units):
                    gate.copy_(nn.init.orthogonal_(torch.empty(gate.shape), 1.0, generator))
            self.bias_ih.zero_()
            self.bias_hh.zero_()

    def market_half(self, embedding_UE: Tensor) -> Tensor:
        """The market's share of the gates, bias included, for each of U bars: (U, 3 M)."""
        weight = self.weight_ih[:, : self.embedding]
        return functional.linear(embedding_UE, weight, self.bias_ih)

    def from_market_half(
        self, half_UH: Tensor, rows_B: Tensor, account_BP: Tensor, hidden_BM: Tensor
    ) -> Tensor:
        """States after the bars (B, M): ``forward([embedding[rows], account], hidden)``.

        Args:
            half_UH: result of ``market_half``.
            rows_B: row of ``half_UH`` for each sample, int64.
            account_BP: account state of each sample.
            hidden_BM: states before.
        """
        if self.embedding:
            weight = self.weight_ih[:, self.embedding :]
            seen = torch.addmm(half_UH.index_select(0, rows_B), account_BP, weight.T)
        else:
            seen = functional.linear(account_BP, self.weight_ih, self.bias_ih)
        kept = functional.linear(hidden_BM, self.weight_hh, self.bias_hh)
        seen_reset, seen_update, seen_new = seen.chunk(3, dim=1)
        kept_reset, kept_update, kept_new = kept.chunk(3, dim=1)
        reset = torch.sigmoid(seen_reset + kept_reset)
        update = torch.sigmoid(seen_update + kept_update)
        new = torch.tanh(seen_new + reset * kept_new)
        return torch.lerp(new, hidden_BM, update)
