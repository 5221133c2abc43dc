"""``perennial train``: hands every argument to the main job."""

import argparse
from pathlib import Path

from training.commands.output import columns

SUMMARY = "train an agent, evaluate it out of sample and write the report"
EXAMPLES = """\
perennial train                                      # the default: real data, minutes on a CPU
perennial train seed=3 schedule.total_steps=200000   # other values, as name=value
perennial train data=nasdaq split=nasdaq             # another data set
perennial train data=files data.path=my.csv split=fractions    # your own data
perennial train market=garleanu_pedersen             # a market whose best policy is known
perennial train market=ornstein_uhlenbeck            # with proportional costs: a no-trade band
perennial train market=regime_gbm                    # growth-optimal weights, switching regimes
perennial train regime=hmm                           # beliefs about regimes beside the features
perennial train 'features.features=[log_return,rsi]' # what the agent sees: perennial features ls
perennial train seeds=5                              # five agents, intervals over seeds
perennial train -m seeds=1 seed=0,1,2                # one run each (Hydra multirun)
perennial train resume=runs/NAME                     # go on from the last checkpoint
perennial train debug=tiny                           # seconds: does everything work here?
perennial train --cfg job                            # print the whole configuration, train nothing
perennial train device=cpu threads=2                 # where and with how much it computes"""


def more_help() -> str:
    """Groups of the configuration with their options, as the files say."""
    folder = Path(__file__).resolve().parents[2] / "conf"
    groups = {
        group.name: sorted(path.stem for path in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
    }
    rows = [(f"  {name}=", ", ".join(options)) for name, options in groups.items() if options]
    return (
        f"groups, chosen as GROUP=OPTION:\n{columns(rows)}\n\n"
        "all values with their defaults: perennial train --cfg job"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("overrides", nargs="*", help="configuration as name=value, Hydra's words")


def run_rest(arguments: list[str]) -> int:
    """Guard the top-level names, then hand over to :func:`training.train.main`."""
    from training.collisions import guard  # noqa: PLC0415 - the help must answer at once
    from training.tracking.redact import install_log_redaction  # noqa: PLC0415 - the same

    guard()
    install_log_redaction()
    from training.train import main  # noqa: PLC0415 - heavy, and only once the names are ours

    return main(arguments)
