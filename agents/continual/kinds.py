"""From the configuration of a remedy to the remedy."""

from agents.continual.anchors import L2, InitialWeights
from agents.continual.cloning import Cloning
from agents.continual.config import (
    CloningConfig,
    EWCConfig,
    GrowConfig,
    InitialWeightsConfig,
    L2Config,
    MASConfig,
    OnlineEWCConfig,
    PackNetConfig,
    RehearsalConfig,
    RemedyConfig,
    SIConfig,
)
from agents.continual.ewc import EWC, OnlineEWC
from agents.continual.grow import Grow
from agents.continual.mas import MAS
from agents.continual.packnet import PackNet
from agents.continual.protocol import PolicyFunction, Remedy
from agents.continual.rehearsal import Rehearsal
from agents.continual.si import SI

_KINDS = {
    EWCConfig: EWC,
    OnlineEWCConfig: OnlineEWC,
    L2Config: L2,
    MASConfig: MAS,
    SIConfig: SI,
    InitialWeightsConfig: InitialWeights,
    PackNetConfig: PackNet,
    CloningConfig: Cloning,
    RehearsalConfig: Rehearsal,
    GrowConfig: Grow,
}


def make_remedy(config: RemedyConfig, function: PolicyFunction) -> Remedy:
    """The remedy that a configuration asks for.

    Raises:
        ValueError: it does not fit the policy.
    """
    remedy: Remedy = _KINDS[type(config)](config, function)
    return remedy
