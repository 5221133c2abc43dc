"""The default parameters of the stylised-facts market, from bars before 2010 only.

    python -m experiments.stylised_facts.calibrate      # about ten minutes

writes `calibration.json`; the defaults of `StylisedFacts` are its numbers, to four digits.
"""

import dataclasses
import json
from pathlib import Path

from markets import Bars
from markets.sources.packages import PackagesSource
from markets.synthetic.stylised_facts_fit import calibrate

RESULT = Path(__file__).with_name("calibration.json")
LAST = "2009-12-31"
"""Last day of the training span; it begins with the series."""
DIGITS = 4


def training_bars() -> Bars:
    """NASDAQ Composite, 1999 to 2009."""
    return PackagesSource(dataset="nasdaq", end=LAST).load().bars


def panel_bars() -> Bars:
    """Four stocks, of which the youngest trades since August 2004, to 2009."""
    source = PackagesSource(dataset="us_stocks", symbols=("AAPL", "GOOG", "IBM", "MSFT"), end=LAST)
    return source.load().bars.split_adjusted()


def rounded(value: object) -> object:
    """Numbers to a few significant digits, inside lists as well; P is rounded apart."""
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def main() -> None:
    """Calibrate, print and record."""
    market = calibrate(training_bars(), panel_bars())
    record = {name: rounded(value) for name, value in dataclasses.asdict(market).items()}
    stay = [round(market.transition[k][k], DIGITS) for k in range(market.num_regimes)]
    record["transition"] = [
        [stay[0], round(1.0 - stay[0], DIGITS)],
        [round(1.0 - stay[1], DIGITS), stay[1]],
    ]
    text = json.dumps(record, indent=1)
    RESULT.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
