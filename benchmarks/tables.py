"""Recorded results as Markdown."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.cases import LABELS, face_of
from benchmarks.targets import TARGETS, Figures

Record = Mapping[str, Any]
"""Content of a result's JSON file."""

INTRODUCTION = (
    "Written by `make bench` from the JSON files beside it: do not edit. Figures are medians with "
    "the lowest and the highest of `count` repetitions; the order is interleaved, so that other "
    "work on the machine hits all lines alike. CPU-s: seconds of processor time."
)
TITLES = {
    "environment": "Environment steps",
    "streams": "Streams of synthetic markets",
    "training": "Training",
    "features": "Features",
    "regimes": "Regime detectors",
    "options": "Agents made of options",
    "continual": "Remedies against forgetting",
    "main_job": "The whole default `perennial train`",
}
NOTES = {
    "environment": (
        "Random actions, one process with one thread, resets included; 5,000 daily bars. Ours with "
        "every accounting model on and money in float64. `index`, `window`: the compiled accounts; "
        "`VectorEnv`, `Env`: the same behind gymnasium. `copying`: windows beside memcpy of as "
        "many bytes, in turn in one process."
    ),
    "streams": (
        "Random actions, one process with one thread, resets included; index observations, the "
        "regime known, episodes of 256 bars. Every path is generated while it is played."
    ),
    "training": (
        "Every leg with the same widths of layers and the same updates per sample; "
        "`benchmarks/training.py` describes the legs, `benchmarks/finrl_leg.py` what FinRL's "
        "environment does not allow. `s` is wall time. Amdahl: how many times faster the leg would "
        "be if its environment took no time."
    ),
    "features": (
        "5,000 daily bars of 20 symbols with gaps, splits and dividends; one process with one "
        "thread. `cold`: computed; `warm`: from the cache on disk, 64-bit and unscaled; `scaled`: "
        "what an agent sees. The peer computes the same 33 indicators in its own code."
    ),
    "regimes": (
        "Three regimes, 2,500 bars to fit, 2,500 streamed through `Detector.update`; microseconds "
        "are wall time."
    ),
    "options": (
        "Four learned options under the residual gate, with the job's own configuration of the "
        "embedded stocks with a rule's beliefs (`stocks`) and of the Gârleanu-Pedersen market with "
        "the filter's (`signals`); one torch thread. `over flat`: a multiple of the flat agent's "
        "in the same round, in which both take rollouts in turn. `act`: the policy that "
        "evaluation plays; `predict`: Stable-Baselines3's call."
    ),
    "continual": (
        "Shares of the processor time of a phase of 300,000 steps of the same agent in the same "
        "round, one torch thread. `end of a phase`: consolidation on 2,048 states; `gradient "
        "steps`: what they take longer in the next phase; `memory`: numbers kept after one phase, "
        "for each of the policy's. While it looks at gradients of single states, a remedy holds "
        "16 MiB more at most."
    ),
    "main_job": (
        "Without installation. `empty cache`: the first run on a machine, which compiles the "
        "kernels."
    ),
}
FIGURES = ("steps_per_second", "steps_per_cpu_second", "cores_used")
SHARES = ("environment", "policy", "update", "bookkeeping")


def markdown(results: Mapping[str, Record]) -> str:
    """The page of all results.

    Args:
        results: content of the JSON files by benchmark (see `TITLES`); those that were not
            measured are left out.
    """
    parts = ["# Benchmarks", INTRODUCTION, "## Targets", _targets(results)]
    for name, title in TITLES.items():
        if name in results:
            parts += [f"## {title}", NOTES[name], *_sections(name, results[name])]
    return "\n\n".join(parts) + "\n"


def figures_of(name: str, record: Record) -> Figures:
    """What the targets are compared with: all figures of a benchmark by name.

    Another main job than the default one has none.
    """
    if record.get("overrides"):
        return {}
    if name == "training":
        return {
            f"{leg}: {figure}": row[figure]
            for leg, row in record["legs"].items()
            for figure in FIGURES
        }
    found: Figures = record["figures"]
    return found


def number(value: float) -> str:
    """Three significant figures or whole numbers, with thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *rows))


def _targets(results: Mapping[str, Record]) -> str:
    rows = []
    for name, record in results.items():
        figures = figures_of(name, record)
        for target in TARGETS[name]():
            value, met = target.reached(figures), target.met(figures)
            verdict = {True: "reached", False: "not reached", None: "not measured"}[met]
            bound = "<=" if target.at_most else ">="
            rows.append(
                (
                    target.text,
                    f"{bound} {number(target.value)} {target.unit}",
                    "" if value is None else number(value),
                    verdict,
                )
            )
    return table(("target", "wanted", "measured", "verdict"), rows)


def _sections(name: str, record: Record) -> list[str]:
    bodies = {
        "environment": _environment,
        "streams": lambda found: [_spreads(found["figures"])],
        "training": _training,
        "features": lambda found: [_spreads(found["figures"])],
        "regimes": lambda found: [_spreads(found["figures"])],
        "options": lambda found: [_spreads(found["figures"])],
        "continual": lambda found: [_spreads(found["figures"])],
        "main_job": _main_job,
    }
    parts = [*bodies[name](record)]
    if record.get("skipped"):
        rows = [(case, " ".join(why.split())[:200]) for case, why in record["skipped"].items()]
        parts += ["Not measured here:", table(("line", "reason"), rows)]
    return [*parts, _provenance(record)]


def _environment(record: Record) -> list[str]:
    note = (
        "How many times as many steps a CPU-second ours takes on the same workload (at least as "
        "many features; N=1024 where the peer has no batches), by the face that it is used through."
    )
    return [_spreads(record["figures"]), "### Against peers", note, _comparisons(record)]


def _comparisons(record: Record) -> str:
    """One row for each peer: our rates on the same workload, as multiples of its rate."""
    figures, rows = record["figures"], []
    faces = [label for label in LABELS.values() if label not in ("VectorEnv index", "Env index")]
    for peer, pairs in groupby(record["comparisons"], key=lambda pair: str(pair["peer"])):
        if peer not in figures:
            continue
        rate = figures[peer]["median"]
        ratios = {
            face_of(pair["ours"]): f"{number(figures[pair['ours']]['median'] / rate)}x"
            for pair in pairs
            if pair["ours"] in figures
        }
        rows.append((peer, number(rate), *(ratios.get(face, "") for face in faces)))
    return table(("peer", "steps/CPU-s", *faces), rows)


def _training(record: Record) -> list[str]:
    legs: Mapping[str, Any] = record["legs"]
    shares = [
        (leg, *(f"{row['shares'][name]:.1%}" for name in SHARES), f"{record['amdahl'][leg]:.2f}x")
        for leg, row in legs.items()
    ]
    ratios = [
        (leg, *(f"{number(record['speed_up'][leg][figure])}x" for figure in FIGURES[:2]))
        for leg in legs
    ]
    units = {"steps_per_second": "steps/s", "steps_per_cpu_second": "steps/CPU-s"}
    spreads = {
        f"{leg}: {figure}": row[figure] | {"unit": units.get(figure, "cores")}
        for leg, row in legs.items()
        for figure in FIGURES
    }
    settings = ", ".join(f"{k} {v:,}" for k, v in record["settings"].items())
    return [
        f"Settings: {settings}.",
        _spreads(spreads),
        "### Shares of the wall time",
        table(("leg", *SHARES, "Amdahl"), shares),
        "### Ours as a multiple",
        table(("leg", "a second", "a CPU-second"), ratios),
    ]


def _main_job(record: Record) -> list[str]:
    changed = record.get("overrides") or []
    note = [f"Not the default job: `{' '.join(changed)}`."] if changed else []
    return [*note, _spreads(record["figures"])]


def _spreads(figures: Figures) -> str:
    rows = [
        (
            name,
            *(number(row[key]) for key in ("median", "lowest", "highest")),
            str(row["count"]),
            row["unit"],
        )
        for name, row in figures.items()
    ]
    return table(("line", "median", "lowest", "highest", "count", "unit"), rows)


def _provenance(record: Record) -> str:
    machine = record["machine"]
    load = ", ".join(map(str, machine["load_average"]))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"- command: `{record['command']}`",
        f"- date: {record['date']}; commit: {record['commit']}",
        f"- machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        f"- load average at the start: {load}",
        f"- Python {machine['python']}, {packages}",
    ]
    for peer, found in record.get("peers", {}).items():
        versions = ", ".join(f"{name} {version}" for name, version in found.items())
        lines.append(f"- {peer}: {versions}")
    return "\n".join(lines)
