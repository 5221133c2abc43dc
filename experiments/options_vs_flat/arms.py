"""The agents that are compared, and the markets that they are compared on."""

from typing import Final

MARKETS: Final[dict[str, tuple[str, ...]]] = {
    "gp": ("market=garleanu_pedersen",),
    "gp belief": ("market=garleanu_pedersen", "market.world.regime=belief"),
    "ou": ("market=ornstein_uhlenbeck",),
    "ou belief": ("market=ornstein_uhlenbeck", "market.world.regime=belief"),
    "gbm": ("market=regime_gbm", "agent.ppo.epochs=5"),
    "gbm belief": ("market=regime_gbm", "market.world.regime=belief", "agent.ppo.epochs=5"),
}
"""Markets by name, as words of the command line; the regime is seen, or the filter's belief.

Half of the market's own epochs on the last one: every arm has the same, and the study its time."""
TITLES: Final = {
    "gp": "Gârleanu-Pedersen, regime seen",
    "gp belief": "Gârleanu-Pedersen, belief seen",
    "ou": "Ornstein-Uhlenbeck, regime seen",
    "ou belief": "Ornstein-Uhlenbeck, belief seen",
    "gbm": "Regime-switching GBM, regime seen",
    "gbm belief": "Regime-switching GBM, belief seen",
}
REGIMES: Final = {"gp": 3, "ou": 2, "gbm": 2}
"""Regimes of a market, by the first word of its name; as many options."""

_EXECUTION = "agent.meta_controller.execution"
_CONTROLLER = "agent.meta_controller.controller"
_NETWORKS = (
    "agent.policy.experts=networks",
    "agent.policy.linear_path=true",
    "agent.policy.expert_hidden=[32,32]",
    "agent.policy.hidden=[32]",
)
"""About as many parameters of three experts, gate and terminations as the flat actor has."""
_GATE = ("agent.meta_controller.terms.anchor=0.01", "agent.meta_controller.terms.anneal=false")
"""Without the anchor the gate gave one option everything on the Ornstein-Uhlenbeck market."""
_LOOSE = ("agent.meta_controller.terms.anchor=0.0",)
_SOFT = (*_NETWORKS, f"{_EXECUTION}.beta_max=1.0", f"{_EXECUTION}.initial_termination=0.9")
_CAPPED = (*_NETWORKS, f"{_EXECUTION}.beta_max=0.22", f"{_EXECUTION}.initial_termination=0.1")
ARMS: Final[dict[str, tuple[str, ...]]] = {
    "flat": ("agent=ppo",),
    "one option": (
        "agent=options",
        *_SOFT,
        f"~{_CONTROLLER}",
        f"+{_CONTROLLER}={{kind:fixed}}",
        "agent.policy.expert_hidden=[64,64]",
    ),
    "blended": ("agent=options", *_SOFT, *_GATE),
    "blended 0.22": ("agent=options", *_CAPPED, *_GATE),
    "blended free": (
        "agent=options",
        *_SOFT,
        f"~{_CONTROLLER}",
        f"+{_CONTROLLER}={{kind:free,hidden:[32]}}",
        *_LOOSE,
    ),
    "hard": ("agent=options", *_CAPPED, *_LOOSE, f"{_EXECUTION}.mode=hard"),
    "fallback": ("agent=options", *_SOFT, f"~{_CONTROLLER}", f"+{_CONTROLLER}={{kind:fallback}}"),
    "oracle gate": ("agent=options", *_SOFT, f"~{_CONTROLLER}", f"+{_CONTROLLER}={{kind:oracle}}"),
}
"""Agents by name. `blended` and `hard` have the residual gate; `one option` is a flat agent with an
expert's architecture."""


ONLY: Final[dict[str, tuple[str, ...]]] = {
    "one option": ("gp", "gp belief"),
    "oracle gate": ("gp belief", "ou belief", "gbm belief"),
}
"""Arms that are not run on every market: where the regime is seen, the oracle's gate is the
fallback's."""


def words(market: str, arm: str, steps: int) -> list[str]:
    """The words of the command line that train an arm on a market."""
    count = REGIMES[market.split(maxsplit=1)[0]]
    count = 1 if arm == "one option" else count
    found = [*MARKETS[market], *ARMS[arm], f"schedule.total_steps={steps}", "tracking=journal"]
    if arm != "flat":
        learned = ",".join(["{kind:learned}"] * count)
        found.append(f"agent.options=[{learned}]")
    return found
