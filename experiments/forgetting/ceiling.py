"""What the best policy earns that is never told the phase, as a share of the phase's own optimum.

In mixed phases agents see the belief of a filter that does not know which phase it is. The optimum
of the pooled market (the mean of the phases' chains) under that very filter is the best that one
policy for all phases can be up to what phases teach beyond it: no remedy is meant to beat it.

    python -m experiments.forgetting.ceiling
"""

from dataclasses import replace

from evaluation.optimality import OptimalityConfig, measure, reference_of
from experiments.forgetting.arms import Arm
from experiments.forgetting.run import configuration
from training.continual.phases import MarketRegime, open_plan

EPISODES = 4096


def main() -> None:
    """Print the share in every phase, and their mean."""
    config = configuration("gp mixed", Arm("flat"), 1)
    assert config.continual is not None
    settings = OptimalityConfig(episodes=EPISODES, length=256, seed=1)
    found = []
    for regime in open_plan(config, config.continual).regimes:
        assert isinstance(regime, MarketRegime)
        problem = regime.problem
        informed = problem.world.informed()
        best = measure(informed.oracle(reference_of(informed)), problem, settings)
        nothing = measure(informed.rules()["do_nothing"], problem, settings)
        assert problem.world.believed_transition is not None
        pooled = replace(
            problem.world, transition=problem.world.believed_transition, believed_transition=None
        )
        blind = measure(pooled.oracle("belief"), problem, settings, misled=True)
        whole, part = (
            each.earned.discounted_E.mean() - nothing.earned.discounted_E.mean()
            for each in (best, blind)
        )
        found.append(part / whole)
        print(f"{regime.name}: {part / whole:.3f}")
    print(f"mean: {sum(found) / len(found):.3f}")


if __name__ == "__main__":
    main()
