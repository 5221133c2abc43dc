"""Disruption against the share of the optimum: blended execution under caps, and hard switching.

Every setting is trained from scratch on every market and seed and judged on the same fresh
episodes; the options of the blended ones are judged under hard routing by the likeliest regime as
well. Results are appended to `results.jsonl`; what is there is not repeated.

    python -m experiments.meta_controller.run                    # run what is missing
    python -m experiments.meta_controller.run --worker 0/2       # the first half of it
    python -m experiments.meta_controller.run --table            # the tables of README.md
    python -m experiments.meta_controller.run --plot             # frontier.png
"""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from evaluation.optimality import OptimalityConfig
from experiments.meta_controller.figure import plot
from experiments.meta_controller.settings import ROUTED, SETTINGS
from experiments.meta_controller.tables import print_tables
from experiments.meta_controller.watching import Moved, unit_of
from experiments.options_vs_flat.arms import MARKETS
from experiments.options_vs_flat.journal import Journal, Row, seeds_of, study_parser
from experiments.options_vs_flat.training import actor_parameters, configuration, judged, trained
from experiments.options_vs_flat.variants import option_learner, playing, routed
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("results.jsonl")
STEPS, SEEDS = 500_000, 10
SHOWN = ("gp", "gp belief")
"""Markets that are run unless others are asked for."""
JUDGED = OptimalityConfig()


def rows_of(key: Row, paths: OptimalityConfig, weights: Path | None) -> list[dict[str, Any]]:
    """Train once, and judge: as trained, and the options of a blend under hard routing too.

    Args:
        key: market, setting, steps and seed.
        paths: of the judgement.
        weights: folder that keeps the weights; none keeps nothing.
    """
    market, setting, steps, seed = (key[k] for k in ("market", "setting", "steps", "seed"))
    arm = setting.split()[0]
    model, task, spent = trained(configuration(market, arm, steps, SETTINGS[setting]), seed)
    learner = option_learner(model)
    if weights is not None:
        weights.mkdir(parents=True, exist_ok=True)
        kept = {k: v.contiguous() for k, v in model.policy.net.state_dict().items()}
        name = f"{market}-{setting}-{steps}-{seed}.safetensors".replace(" ", "_")
        save_file(kept, weights / name)
    blended = learner.agent.meta_controller.execution.mode == "blended"
    policy = playing(learner, learner.policy.network, "blended" if blended else "sampled")
    unit = unit_of(task.problem)
    found = judged(Moved(policy, unit), task, paths)
    rows = [{**key, **found, "parameters": actor_parameters(model), **spent}]
    if blended:
        other = judged(Moved(routed(learner), unit), task, paths)
        rows.append({**key, "setting": f"{setting} {ROUTED}", **other})
    return rows


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS)
    parser.add_argument("--plot", action="store_true", help="draw the figure and stop")
    parser.add_argument("--market", choices=MARKETS, action="append", help="only this one")
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="only this one")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    if given.table:
        print_tables(journal.rows(), given.steps)
        return
    if given.plot:
        plot(journal.rows(), given.steps, journal.path.with_name("frontier.png"))
        return
    limit_torch_threads()
    wanted = [
        {"market": market, "setting": setting, "steps": given.steps, "seed": seed}
        for seed in seeds_of(given)
        for setting in given.setting or SETTINGS
        for market in given.market or SHOWN
    ]
    for key in journal.missing(wanted, given.worker):
        for row in rows_of(key, JUDGED, given.weights):
            journal.add(row)
            print(*(row[k] for k in ("market", "setting", "seed")), f"{row['share']:.3f}")


if __name__ == "__main__":
    main()
