"""The streams that are compared: problems, networks, and what protects earlier phases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_KNOWN = ("market=garleanu_pedersen",)
_BELIEF = ("market=garleanu_pedersen", "market.world.regime=belief")
PROBLEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "gp known": _KNOWN,
    "gp mixed": _BELIEF,
    "gp hidden": ("market=garleanu_pedersen", "market.world.regime=hidden"),
    "ou known": ("market=ornstein_uhlenbeck",),
    "gp known 210": _KNOWN,
    "gp known 120": _KNOWN,
    "gp mixed 210": _BELIEF,
    "gp known gated": _KNOWN,
    "gp mixed gated": _BELIEF,
}
"""Words of each problem: the agent knows the regime; sees a filter's belief, and phases mix the
regimes; sees nothing of it."""
TITLES: Final[Mapping[str, str]] = {
    "gp known": "Gârleanu-Pedersen, one regime a phase, regime known",
    "gp mixed": "Gârleanu-Pedersen, mixed phases, filtered belief",
    "gp hidden": "Gârleanu-Pedersen, one regime a phase, nothing told",
    "ou known": "Ornstein-Uhlenbeck, one regime a phase, regime known",
    "gp known 210": "Gârleanu-Pedersen, regime known, order 2 1 0",
    "gp known 120": "Gârleanu-Pedersen, regime known, order 1 2 0",
    "gp mixed 210": "Gârleanu-Pedersen, mixed phases, filtered belief, order 2 1 0",
    "gp known gated": "Gârleanu-Pedersen, regime known, every update judged by the gate",
    "gp mixed gated": "Gârleanu-Pedersen, mixed phases, every update judged by the gate",
}
ORDERS: Final[Mapping[str, tuple[int, ...]]] = {
    "gp known 210": (2, 1, 0),
    "gp known 120": (1, 2, 0),
    "gp mixed 210": (2, 1, 0),
}
"""Problems with another order of the regimes than 0 1 2."""
GATED: Final = ("gp known gated", "gp mixed gated")
"""Problems whose updates must be accepted."""
MIXED: Final = ("gp mixed", "gp mixed 210", "gp mixed gated")
"""Problems whose phases mix the regimes."""
STEPS: Final[Mapping[str, int]] = {name: 250_000 if name in MIXED else 150_000 for name in PROBLEMS}
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


@dataclass(frozen=True)
class Arm:
    """What learns, and what protects earlier phases."""

    network: str
    """Of `NETWORKS`."""
    remedies: Remedies = ()
    """Settings by kind."""
    joint: bool = False
    """Learn all regimes at once, for as many steps as the whole stream."""
    words: tuple[str, ...] = ()
    """Further words of the command line."""
    stream: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of `continual`."""


_CLONING = {"kind": "cloning", "strength": 0.3}
_CERTAIN = {"kind": "cloning", "strength": 0.1, "belief": 0.8}
_REHEARSAL = {"kind": "rehearsal", "share": 0.67}


def anchored(strength: float, *protect: str, kind: str = "ewc") -> Mapping[str, Any]:
    """Settings of a remedy that pulls parameters to where phases left them.

    Args:
        strength: Lambda.
        protect: parts of the network; none = all.
        kind: of the remedy.
    """
    found = {"kind": kind, "strength": strength, "protect": list(protect or ("all",))}
    return found | ({"states": 4096} if kind in ("ewc", "online_ewc", "mas") else {})


ARMS: Final[Mapping[str, Arm]] = {
    "flat, fine-tuning": Arm("flat"),
    "flat, EWC": Arm("flat", (anchored(100.0),)),
    "flat, online EWC": Arm("flat", (anchored(100.0, kind="online_ewc"),)),
    "flat, L2": Arm("flat", (anchored(10.0, kind="l2"),)),
    "flat, MAS": Arm("flat", (anchored(100.0, kind="mas"),)),
    "flat, SI": Arm("flat", (anchored(100.0, kind="si"),)),
    "flat, PackNet": Arm("flat", ({"kind": "packnet", "phases": 3},)),
    "flat, cloning": Arm("flat", (_CLONING,)),
    "flat, rehearsal": Arm("flat", (_REHEARSAL,)),
    "heads, EWC at 0": Arm("heads", (anchored(0.0),)),
    "heads, EWC": Arm("heads", (anchored(100.0),)),
    "heads, EWC of the trunk": Arm("heads", (anchored(100.0, "trunk"),)),
    "heads, online EWC": Arm("heads", (anchored(100.0, kind="online_ewc"),)),
    "heads, cloning": Arm("heads", (_CLONING,)),
    "heads, rehearsal": Arm("heads", (_REHEARSAL,)),
    "heads, grow": Arm("heads", ({"kind": "grow", "copy": False, "freeze": ["trunk"]},)),
    "heads, rehearsal + EWC of the trunk": Arm("heads", (_REHEARSAL, anchored(10.0, "trunk"))),
    "heads, rehearsal + EWC + cloning": Arm(
        "heads",
        (_REHEARSAL, anchored(10.0, "trunk"), _CERTAIN),
    ),
    "experts, fine-tuning": Arm("experts"),
    "experts, rehearsal": Arm("experts", (_REHEARSAL,)),
    "flat, joint": Arm("flat", joint=True),
    "heads, joint": Arm("heads", joint=True),
}
"""By name."""
KNOWN_ONLY: Final = ("flat, PackNet",)
"""Arms that must be told which regime they are in when they are judged."""
CORE: Final[Mapping[str, tuple[str, ...]]] = {
    "gp known": (
        "flat, fine-tuning",
        "flat, EWC",
        "flat, cloning",
        "heads, EWC at 0",
        "heads, EWC of the trunk",
        "heads, rehearsal + EWC + cloning",
        "experts, fine-tuning",
        "heads, joint",
    ),
    "gp mixed": (
        "flat, fine-tuning",
        "heads, EWC at 0",
        "heads, EWC of the trunk",
        "heads, rehearsal",
        "heads, rehearsal + EWC of the trunk",
        "heads, rehearsal + EWC + cloning",
        "experts, fine-tuning",
        "heads, joint",
    ),
}
"""Arms that decide what was asked, with the most seeds, by problem."""
FURTHER: Final = (
    "flat, fine-tuning",
    "flat, EWC",
    "flat, cloning",
    "heads, EWC at 0",
    "heads, EWC of the trunk",
    "heads, rehearsal + EWC + cloning",
    "flat, joint",
    "heads, joint",
)
"""Arms of further markets and orders, and behind the gate."""
SEEDS, FEW = 10, 3
"""Of the core on the first two problems, and of everything else."""


def words(problem: str, arm: Arm, steps: int) -> list[str]:
    """The command line of an arm, but for its `continual` part.

    Args:
        problem: name.
        arm: what learns.
        steps: of a phase.
    """
    return [
        *PROBLEMS[problem],
        *NETWORKS[arm.network],
        *arm.words,
        f"schedule.total_steps={steps}",
        "schedule.checkpoint_steps=20000",
        "evaluation.optimality.episodes=512",
        "evaluation.optimality.length=256",
    ]


def continual(problem: str, arm: Arm) -> dict[str, Any]:
    """The `continual` part of an arm's configuration."""
    return {
        "phases": {
            "kind": "regimes",
            "mixing": "mixed" if problem in MIXED else "pure",
            "order": ORDERS.get(problem),
            "cycles": CYCLES,
        },
        "gate": {"every": 50_000} if problem in GATED else None,
        "remedies": [dict(remedy) for remedy in arm.remedies],
        "joint": arm.joint,
        "curve_episodes": 32,
        **arm.stream,
    }


def wanted(problem: str, arm: str) -> int:
    """How many seeds an arm has on a problem; none where it makes no sense, or is not asked for."""
    if problem in CORE:
        if arm in CORE[problem]:
            return SEEDS
        return 0 if arm in KNOWN_ONLY and problem in MIXED else FEW
    if arm not in FURTHER or (problem in GATED and (ARMS[arm].joint or arm == "heads, EWC at 0")):
        return 0
    if problem == "gp hidden" and ARMS[arm].network != "flat":
        return 0
    return FEW
