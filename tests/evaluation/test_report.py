"""The report: self-contained, the same bytes, honest words first, and no trace left behind."""

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import axes, plots
from evaluation.bootstrap import BootstrapConfig
from evaluation.comparison import compare
from evaluation.drawing import COLOURS, style, to_svg
from evaluation.judge import Evaluation, EvaluationConfig
from evaluation.ledger import Ledger
from evaluation.regime_plots import regime_panels, write_regime_figure
from evaluation.regime_summary import CRISES, RefitMark, RegimeHistory, rows, table
from evaluation.report import (
    ReportInputs,
    monthly_returns,
    render_report,
    write_figures,
    write_report,
)
from evaluation.report_regimes import regime_words
from evaluation.summary import MEASURES, Unit, format_figure, summarise

Array = NDArray[np.float64]
MakeLedger = Callable[..., Ledger]

CONFIG = EvaluationConfig(bootstrap=BootstrapConfig(resamples=100))


def evaluation(
    make: MakeLedger, *, seeds: int = 3, bars: int = 300, validation: bool = True
) -> Evaluation:
    rng = np.random.default_rng(4)
    market_T = rng.normal(size=bars) * 0.01 + 0.0005

    def agent(seed: int) -> Ledger:
        noise_T = np.random.default_rng(seed).normal(size=bars) * 0.004
        return make(market_T + noise_T, seed=seed, fee_rate=1e-4)

    agents = tuple(agent(seed) for seed in range(seeds))
    baselines = {
        "cash": (make(np.zeros(bars), policy="cash"),),
        "buy_and_hold": (make(market_T, policy="buy_and_hold", fee_rate=1e-5),),
        "random": tuple(
            make(market_T * 0.5, policy="random", seed=s, fee_rate=1e-4) for s in range(2)
        ),
    }
    earlier = baselines if validation else {}
    return Evaluation(
        agents=agents,
        baselines=baselines,
        agents_validation=agents if validation else (),
        baselines_validation=earlier,
        comparison=compare(agents, baselines, earlier or None, CONFIG.bootstrap),
        config=CONFIG,
    )


@pytest.fixture(scope="module")
def inputs(make_ledger: MakeLedger) -> ReportInputs:
    return ReportInputs(
        evaluation=evaluation(make_ledger),
        title="default <run>",
        config_text="seed: 0\ntrading: {fee: {bps: 1.0}}\n",
        manifest={"dataset": "us_stocks", "licence": "BSD", "symbols": ["AAA", "BBB"]},
        versions={"python": "3.11.7"},
        command="perennial train seed=0",
        notes=["A note & a half."],
    )


@pytest.fixture(scope="module")
def document(inputs: ReportInputs) -> str:
    return render_report(inputs)


class Page(HTMLParser):
    """Text, ids and everything that a browser would fetch."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "data", "poster") and not (value or "").startswith("#"):
                self.fetched.append(value or "")
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip() and not {"style", "title"} & set(self.open[-1:]):
            self.text.append(data.strip())


def test_the_first_line_is_the_verdict(inputs: ReportInputs, document: str) -> None:
    page = Page(document)
    assert page.text[0] == inputs.evaluation.comparison.verdict
    assert page.text[1] == inputs.evaluation.comparison.evidence


def test_the_page_fetches_nothing(document: str) -> None:
    page = Page(document)
    assert page.fetched == []
    assert "<script" not in document
    assert "@import" not in document
    assert re.findall(r"url\((?!#)", document) == []
    assert "http" not in document


def test_ids_are_unique_and_every_reference_is_met(document: str) -> None:
    ids = Page(document).ids
    assert len(ids) == len(set(ids)) > 0
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', document))
    assert referred <= set(ids)


def test_same_inputs_same_bytes(inputs: ReportInputs, document: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, inputs)
    assert path.read_text(encoding="utf-8") == document
    assert list(path.parent.iterdir()) == [path]


def test_the_page_shows_all_its_parts(inputs: ReportInputs, document: str) -> None:
    assert document.count("<svg") == 5
    for measure in MEASURES:
        assert measure.label in document
    for words in ("perennial train seed=0", "us_stocks", "BSD", "AAA, BBB", "3.11.7", "bps: 1.0"):
        assert words in document
    assert "default &lt;run&gt;" in document
    assert "A note &amp; a half." in document
    # Six rows of figures for three seeds, of which the median one is shown in detail.
    shown = plots.median_seed(inputs.evaluation.agents)
    assert f"Seed {shown.metadata.seed}, whose final equity is the median." in document


def seen_regimes(bars: int = 5000) -> RegimeHistory:
    rng = np.random.default_rng(0)
    wild_T = (np.arange(bars) // 250) % 2
    belief_TK = np.stack([0.9 - 0.8 * wild_T, 0.1 + 0.8 * wild_T], axis=1)
    return RegimeHistory(
        title="run: regimes by hmm",
        ts_event=(np.arange(bars) + 12_000) * 86_400_000_000_000,
        level_T=np.exp(np.cumsum(rng.normal(-0.0005, 0.005 + 0.02 * wild_T))),
        belief_TK=belief_TK,
        names=("calm", "wild"),
        transition_KK=np.array([[0.99, 0.01], [0.02, 0.98]]),
        known_from=2500,
        crises=CRISES,
        refits=(
            RefitMark(3000, accepted=True),
            RefitMark(3500, accepted=False, reason="found <70%> agreement"),
        ),
    )


def test_the_page_without_regimes_says_nothing_of_them(document: str) -> None:
    assert "egime" not in document


def test_the_page_shows_what_the_agent_saw_of_regimes(inputs: ReportInputs, document: str) -> None:
    history = seen_regimes()
    seen = render_report(dataclasses.replace(inputs, regimes=history))
    first = document.index("<h2>Month by month</h2>")
    start, end = seen.index("<h2>Regimes</h2>"), seen.index("<h2>Month by month</h2>")
    assert (seen[:start], seen[end:]) == (document[:first], document[first:])
    page = Page(seen)
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids))
    assert seen.count("<svg") == 6
    svg = seen[seen.index("<svg", start) : seen.index("</svg>", start)]
    assert 20_000 < len(svg) < 200_000, "a long history is thinned"
    assert "var(--green)" in svg
    assert re.findall(r"#[0-9a-f]{6}", svg) == []
    last = str(history.ts_event[2499].astype("datetime64[ns]"))[:10]
    assert f"The detector was fitted on bars up to {last}" in seen
    heading, *body = table(rows(history))
    for name, row in zip(("green", "vermilion"), body, strict=True):
        cells = [cell.replace("-", "\N{MINUS SIGN}") for cell in row]
        told = "".join(f"<td>{cell}</td>" for cell in cells[1:])
        assert f'<tr><td><span style="color:var(--{name})">■</span> {cells[0]}</td>{told}' in seen
    assert all(f"<th>{name.capitalize()}</th>" in seen for name in heading)
    assert "Refits after the training span: 1 accepted, 1 refused (the old model stayed)." in seen
    refused = str(history.ts_event[3500].astype("datetime64[ns]"))[:10]
    assert f'<td>{refused}</td><td class="words">found &lt;70%&gt; agreement</td>' in seen


def test_no_alarm_is_lost_where_bars_are_left_out() -> None:
    alarm_T = np.zeros(5000)
    alarm_T[[7, 2004, 4998]] = 0.9
    history = dataclasses.replace(seen_regimes(), alarm_T=alarm_T, alarm_bars=10)
    with style():
        _, _, panel = regime_panels(history).axes
    drawn = np.asarray(panel.get_lines()[0].get_ydata(), float)
    assert (len(drawn), int((drawn == 0.9).sum())) == (800, 3)


def test_many_refusals_are_summed_up_and_none_is_no_refit() -> None:
    history = seen_regimes(400)
    marks = tuple(RefitMark(k, accepted=False, reason=f"why {k}") for k in range(300, 320))
    words = regime_words(dataclasses.replace(history, known_from=300, refits=marks))
    assert (words.accepted, words.refused_count, words.untold) == ("0", "20", "8")
    assert [reason for _, reason in words.refused] == [f"why {k}" for k in range(308, 320)]
    calm = regime_words(dataclasses.replace(history, known_from=400, refits=()))
    assert (calm.fitted_to, calm.attempts, calm.refused) == ("", False, ())
    hourly = dataclasses.replace(history, ts_event=history.ts_event // 24, known_from=2)
    assert regime_words(hourly).fitted_to == "1971-05-16 01:00"


def test_every_colour_of_a_figure_follows_the_theme(document: str) -> None:
    inside = "".join(re.findall(r"<svg.*?</svg>", document, flags=re.DOTALL))
    assert "var(--blue)" in inside
    assert set(re.findall(r"#[0-9a-f]{6}", inside)) == set()
    for name in COLOURS:
        assert f"--{name}:" in document


def test_drawing_leaves_no_trace(inputs: ReportInputs, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    render_report(inputs)
    write_figures(tmp_path, inputs.evaluation)
    assert dict(mpl.rcParams) == before


def test_settings_of_the_process_do_not_show(inputs: ReportInputs, document: str) -> None:
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "legend.facecolor": "white"}):
        assert render_report(inputs) == document


def test_figures_are_written_as_pictures(inputs: ReportInputs, tmp_path: Path) -> None:
    paths = write_figures(tmp_path / "figures", inputs.evaluation)
    assert [p.name for p in paths] == [
        "equity.png",
        "lead.png",
        "differences.png",
        "weights.png",
        "costs.png",
    ]
    first = [p.read_bytes() for p in paths]
    assert all(picture.startswith(b"\x89PNG") for picture in first)
    write_figures(tmp_path / "figures", inputs.evaluation)
    assert [p.read_bytes() for p in paths] == first
    more = write_figures(tmp_path / "more", inputs.evaluation, seen_regimes(300))
    assert [p.name for p in more] == [*(p.name for p in paths), "regimes.png"]
    write_regime_figure(seen_regimes(300), tmp_path / "same.png")
    assert more[-1].read_bytes() == (tmp_path / "same.png").read_bytes()


def test_one_seed_without_validation_says_so(make_ledger: MakeLedger) -> None:
    lone = evaluation(make_ledger, seeds=1, validation=False)
    document = render_report(ReportInputs(evaluation=lone))
    assert "one seed, which says nothing about other training runs" in document
    assert "chosen in hindsight" in document
    assert "[unknown, unknown]" in document, "the interval over one seed"


def test_ruin_and_prescience_are_named(make_ledger: MakeLedger) -> None:
    judged = evaluation(make_ledger)
    ruined = judged.agents[0]
    closed = np.arange(len(ruined)) > 250
    metadata = dataclasses.replace(ruined.metadata, notes=("Filled at the observed close.",))
    agents = (dataclasses.replace(ruined, closed=closed, metadata=metadata), *judged.agents[1:])
    document = render_report(ReportInputs(evaluation=dataclasses.replace(judged, agents=agents)))
    assert "1 of 3 accounts of the agent were ruined." in document
    assert "Filled at the observed close." in document


def test_short_positions_are_drawn_as_lines(make_ledger: MakeLedger) -> None:
    ledger = make_ledger(np.full(50, 0.001))
    short = dataclasses.replace(ledger, weights=ledger.weights * np.array([-1.0, 1.0]))
    (stacked,) = plots.weights_figure(ledger).axes
    (drawn,) = plots.weights_figure(short).axes
    assert len(stacked.collections) == 3
    assert len(drawn.collections) == 0
    assert len(drawn.lines) == 4


def test_many_assets_are_summed_up(make_ledger: MakeLedger) -> None:
    symbols = tuple(f"S{number}" for number in range(30))
    (panel,) = plots.weights_figure(make_ledger(np.full(50, 0.001), symbols=symbols)).axes
    legend = panel.get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:2] == ["Cash", "25 others"]
    assert len(names) == 7


def test_long_ledgers_are_thinned_for_drawing(make_ledger: MakeLedger) -> None:
    ledger = make_ledger(np.random.default_rng(0).normal(size=20_000) * 0.001)
    document = to_svg(lambda: plots.weights_figure(ledger), name="w")
    assert len(document) < 400_000
    keep, times = axes.kept_rows(ledger.ts_event)
    assert (keep[0], keep[-1], len(times)) == (0, 20_000, axes.MOST_POINTS)


def test_monthly_returns_by_hand(make_ledger: MakeLedger) -> None:
    # 2020-01-02 is the start; January has 21 more weekdays, February 20.
    returns_T = np.concatenate([np.full(21, 0.01), np.full(20, -0.01)])
    table = monthly_returns(make_ledger(returns_T))
    assert table.index.tolist() == [2020]
    assert table.loc[2020, 1] == pytest.approx(1.01**21 - 1.0)
    assert table.loc[2020, 2] == pytest.approx(0.99**20 - 1.0)
    assert table.loc[2020, "year"] == pytest.approx(1.01**21 * 0.99**20 - 1.0)
    assert table[3].isna().all()


def test_median_seed_is_the_lower_of_an_even_number(make_ledger: MakeLedger) -> None:
    ledgers = [make_ledger(np.full(5, r), seed=n) for n, r in enumerate((0.03, 0.01, 0.02, 0.04))]
    assert plots.median_seed(ledgers).metadata.seed == 2
    assert plots.median_seed(ledgers[:3]).metadata.seed == 2


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "fraction", "12.3%"),
        (-0.01234, "fraction/year", "\N{MINUS SIGN}1.23%"),
        (-1e-9, "fraction", "0.00%"),
        (0.0, "fraction", "0%"),
        (1.456, "ratio", "1.46"),
        (1234.0, "bars", "1,234"),
        (9.63, "times/year", "9.6\N{MULTIPLICATION SIGN}"),
        (38.76, "bps/year", "38.8"),
        (float("nan"), "ratio", "\N{EN DASH}"),
        (float("-inf"), "ratio", "\N{MINUS SIGN}\N{INFINITY}"),
    ],
)
def test_figures_for_readers(value: float, unit: Unit, text: str) -> None:
    assert format_figure(value, unit) == text


def test_summary_has_every_measure_with_its_unit(make_ledger: MakeLedger) -> None:
    ledger = make_ledger(np.array([0.1, -0.05, 0.02]), fee_rate=1e-3)
    found = summarise(ledger)
    assert list(found) == [measure.name for measure in MEASURES]
    assert found["total_return"].value == pytest.approx(1.1 * 0.95 * 1.02 - 1.0)
    assert found["cost_drag"].value == pytest.approx(252 * 10.0)
    assert found["cost_drag"].unit == "bps/year"
    # Fees of 0.1% of 1000, 1100 and 1045 on three fills of 10 each.
    assert found["cost_rate"].value == pytest.approx(1e4 * 3.145 / 30.0)
    assert found["exposure"].value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.88, 2.17, [1.0, 1.2, 1.4, 1.6, 1.8, 2.0]),
        (0.99, 1.013, [0.99, 0.995, 1.0, 1.005, 1.01]),
        (0.5, 20.0, [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]),
        (1.0, 1e5, [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert axes.round_ticks(low, high) == ticks


def test_labels_are_moved_apart_and_stay_inside() -> None:
    moved = axes.apart(np.array([0.5, 0.5, 0.51, 0.98, 0.99]), 0.05)
    assert np.diff(moved).min() >= 0.05 - 1e-6
    assert 0.0 <= moved.min() <= moved.max() <= 1.0
