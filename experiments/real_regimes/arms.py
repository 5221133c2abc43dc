"""What is compared: networks, and what protects earlier phases.

Strengths are the documented defaults or those of `experiments.forgetting` on synthetic markets, and
so are rates of learning: none was chosen on real bars. Six features instead of sixteen, and of the
last bar alone, were chosen on seeds 100 and 101 of fine-tuning: more of them doubled the turnover.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from experiments.real_regimes.streams import SERIES, phases

STEPS: Final = 65_536
"""Of a phase."""
_MOMENTUM = ",".join(f"{{name: momentum, parameters: {{horizon: {h}}}}}" for h in (5, 21, 63))
_VOLATILITY = ",".join(
    f"{{name: realised_volatility, parameters: {{window: {w}}}}}" for w in (10, 63)
)
LEARNER: Final = (
    f"features.features=[log_return,{_MOMENTUM},{_VOLATILITY}]",
    "agent.policy.encoder.window=1",
)
"""Words of all arms: what is seen of each asset, beside the detector's belief."""
NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "flat": (),
    "heads": (
        "agent=options",
        "agent.meta_controller.controller={kind: fallback}",
        "agent.policy.experts=heads",
        "agent.policy.linear_path=false",
        "agent.policy.hidden=[64,64]",
    ),
}
"""Words of each network: one head; three heads on one trunk, weighed by the detector's belief. Both
see the belief."""


@dataclass(frozen=True)
class Arm:
    """What learns, and what protects earlier phases."""

    network: str
    """Of `NETWORKS`."""
    remedies: tuple[Mapping[str, Any], ...] = ()
    """Settings by kind."""
    joint: bool = False
    """Learn all regimes at once, for as many steps as the whole stream."""
    core: bool = False
    """Whether it is run with all seeds."""


_CLONING = {"kind": "cloning"}
_REHEARSAL = {"kind": "rehearsal"}


def anchored(kind: str, strength: float, *protect: str) -> Mapping[str, Any]:
    """Settings of a remedy that pulls parameters to where phases left them.

    Args:
        kind: of the remedy.
        strength: Lambda.
        protect: parts of the network; none = all.
    """
    return {"kind": kind, "strength": strength, "protect": list(protect or ("all",))}


ARMS: Final[Mapping[str, Arm]] = {
    "fine-tuning": Arm("flat", core=True),
    "EWC": Arm("flat", (anchored("ewc", 10.0),), core=True),
    "online EWC": Arm("flat", (anchored("online_ewc", 10.0),)),
    "L2": Arm("flat", (anchored("l2", 1.0),)),
    "MAS": Arm("flat", (anchored("mas", 10.0),)),
    "SI": Arm("flat", (anchored("si", 10.0),)),
    "cloning": Arm("flat", (_CLONING,), core=True),
    "rehearsal": Arm("flat", (_REHEARSAL,), core=True),
    "joint training": Arm("flat", joint=True, core=True),
    "heads, EWC at 0": Arm("heads", (anchored("ewc", 0.0, "trunk"),), core=True),
    "heads, EWC of the trunk": Arm("heads", (anchored("ewc", 100.0, "trunk"),), core=True),
    "heads, rehearsal + EWC + cloning": Arm(
        "heads", (_REHEARSAL, anchored("ewc", 30.0, "trunk"), _CLONING), core=True
    ),
    "heads, joint training": Arm("heads", joint=True),
}
"""By name."""
RULES: Final = ("buy and hold", "do nothing", "always short")
"""References that do not learn."""


def words(series: str, arm: Arm, steps: int) -> list[str]:
    """The command line of an arm, but for its `continual` part.

    Args:
        series: name of the stream.
        arm: what learns.
        steps: of a phase.
    """
    return [
        *SERIES[series].words,
        *NETWORKS[arm.network],
        *LEARNER,
        f"schedule.total_steps={steps}",
        f"schedule.checkpoint_steps={steps // 2}",
        "evaluation.optimality.episodes=256",
    ]


def continual(series: str, arm: Arm) -> dict[str, Any]:
    """The `continual` part of an arm's configuration; no gate."""
    return {
        "phases": phases(SERIES[series]),
        "remedies": [dict(remedy) for remedy in arm.remedies],
        "joint": arm.joint,
        "curve_episodes": 16,
    }
