"""The streams that are compared: problems, networks, and what protects earlier phases."""

from collections.abc import Mapping
from typing import Any, Final

PROBLEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "gp known": ("market=garleanu_pedersen",),
    "gp mixed": ("market=garleanu_pedersen", "market.world.regime=belief"),
    "gp hidden": ("market=garleanu_pedersen", "market.world.regime=hidden"),
    "ou known": ("market=ornstein_uhlenbeck",),
}
"""Words of each problem: the agent knows the regime; sees a filter's belief, and phases mix the
regimes; sees nothing of it."""
TITLES: Final[Mapping[str, str]] = {
    "gp known": "Gârleanu-Pedersen, one regime a phase, regime known",
    "gp mixed": "Gârleanu-Pedersen, mixed phases, filtered belief",
    "gp hidden": "Gârleanu-Pedersen, one regime a phase, nothing told",
    "ou known": "Ornstein-Uhlenbeck, one regime a phase, regime known",
}
MIXED: Final = ("gp mixed",)
"""Problems whose phases mix the regimes."""
STEPS: Final[Mapping[str, int]] = {
    "gp known": 300_000,
    "gp mixed": 400_000,
    "gp hidden": 300_000,
    "ou known": 300_000,
}
"""Of a phase."""
CYCLES: Final = 2

_OPTIONS = ("agent=options", "agent.meta_controller.controller={kind: fallback}")
NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "flat": (),
    "heads": (
        *_OPTIONS,
        "agent.policy.experts=heads",
        "agent.policy.linear_path=false",
        "agent.policy.hidden=[64,64]",
    ),
    "experts": (
        *_OPTIONS,
        "agent.policy.experts=networks",
        "agent.policy.expert_hidden=[64,64]",
        "agent.policy.linear_path=false",
        "agent.policy.hidden=[8]",
    ),
}
"""Words of each network: one head; a head for each regime on one trunk, weighed by what is known of
the regime; a network for each regime, which share nothing."""

Remedies = tuple[Mapping[str, Any], ...]
_CLONING = {"kind": "cloning"}
_CERTAIN = {"kind": "cloning", "belief": 0.8}
_REHEARSAL = {"kind": "rehearsal"}


def _ewc(strength: float, *protect: str, kind: str = "ewc") -> Mapping[str, Any]:
    return {"kind": kind, "strength": strength, "protect": list(protect or ("all",))}


ARMS: Final[Mapping[str, tuple[str, Remedies]]] = {
    "flat, fine-tuning": ("flat", ()),
    "flat, EWC": ("flat", (_ewc(10.0),)),
    "flat, online EWC": ("flat", (_ewc(10.0, kind="online_ewc"),)),
    "flat, L2": ("flat", (_ewc(1.0, kind="l2"),)),
    "flat, MAS": ("flat", (_ewc(10.0, kind="mas"),)),
    "flat, SI": ("flat", (_ewc(10.0, kind="si"),)),
    "flat, PackNet": ("flat", ({"kind": "packnet", "phases": 3},)),
    "flat, cloning": ("flat", (_CLONING,)),
    "flat, rehearsal": ("flat", (_REHEARSAL,)),
    "heads, EWC at 0": ("heads", (_ewc(0.0),)),
    "heads, EWC": ("heads", (_ewc(100.0),)),
    "heads, EWC of the trunk": ("heads", (_ewc(100.0, "trunk"),)),
    "heads, online EWC": ("heads", (_ewc(100.0, kind="online_ewc"),)),
    "heads, cloning": ("heads", (_CLONING,)),
    "heads, rehearsal": ("heads", (_REHEARSAL,)),
    "heads, grow": ("heads", ({"kind": "grow", "copy": False, "freeze": ["trunk"]},)),
    "heads, rehearsal + EWC of the trunk": ("heads", (_REHEARSAL, _ewc(30.0, "trunk"))),
    "heads, rehearsal + EWC + cloning": (
        "heads",
        (_REHEARSAL, _ewc(30.0, "trunk"), _CERTAIN),
    ),
    "experts, fine-tuning": ("experts", ()),
    "experts, rehearsal": ("experts", (_REHEARSAL,)),
    "flat, joint": ("flat", ()),
    "heads, joint": ("heads", ()),
}
"""Network and remedies of each arm."""
JOINT: Final = ("flat, joint", "heads, joint")
"""Arms that learn all regimes at once, for as many steps as the whole stream."""
KNOWN_ONLY: Final = ("flat, PackNet",)
"""Arms that must be told which regime they are in when they are judged."""


def words(problem: str, arm: str, steps: int) -> list[str]:
    """The command line of an arm, but for its `continual` part.

    Args:
        problem: name.
        arm: name.
        steps: of a phase.
    """
    return [
        *PROBLEMS[problem],
        *NETWORKS[ARMS[arm][0]],
        f"schedule.total_steps={steps}",
        "schedule.checkpoint_steps=20000",
        "evaluation.optimality.episodes=512",
        "evaluation.optimality.length=256",
    ]


def continual(problem: str, arm: str) -> dict[str, Any]:
    """The `continual` part of an arm's configuration."""
    return {
        "phases": {
            "kind": "regimes",
            "mixing": "mixed" if problem in MIXED else "pure",
            "cycles": CYCLES,
        },
        "remedies": [dict(remedy) for remedy in ARMS[arm][1]],
        "joint": arm in JOINT,
        "curve_episodes": 32,
    }


def wanted(problem: str, arm: str) -> bool:
    """Whether an arm makes sense on a problem."""
    known = problem.endswith("known")
    if arm in KNOWN_ONLY:
        return known
    return known or problem in MIXED or ARMS[arm][0] == "flat"
