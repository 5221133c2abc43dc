"""What is compared: blended execution under caps, and hard switching."""

from typing import Final

CAPS: Final = (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
"""beta_max of blended execution."""
HARD_CAPS: Final = (0.22, 1.0)
"""beta_max of agents that are trained with one option at a time."""
STARTS: Final = {"blended": 0.9, "hard": 0.45}
"""Probability of an ending at the start of the training, as a share of beta_max."""
ROUTED: Final = "routed"
"""Suffix of the same options under hard routing by the likeliest regime."""
CLAIM: Final = "blended 0.22"
"""The setting of which it is claimed that it disrupts by 0.22 at most, and less than 5 % a bar."""
MOST_DISRUPTION: Final = 0.22
MOST_CHURN: Final = 0.05

_EXECUTION = "agent.meta_controller.execution"


def _changes(mode: str, cap: float) -> tuple[str, ...]:
    return (
        f"{_EXECUTION}.beta_max={cap}",
        f"{_EXECUTION}.initial_termination={STARTS[mode] * cap:g}",
    )


SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    **{f"blended {cap:g}": _changes("blended", cap) for cap in CAPS},
    **{f"hard {cap:g}": _changes("hard", cap) for cap in HARD_CAPS},
}
"""Trained agents by name: changes of the arm of `experiments.options_vs_flat` with that mode."""
REFERENCES: Final = (*(f"hard {cap:g}" for cap in HARD_CAPS), f"{CLAIM} {ROUTED}")
"""Hard switching that the claim is measured against."""
