"""report.md: what a run was and what came of it, readable without any program; its curves are SVG files beside it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lmkit.checkpoints.files import machine_errors, write_file
from lmkit.training import charts, tags
from lmkit.training.logging import read_metrics

Series = dict[str, dict[str, list[tuple[float, float]]]]  # name -> kind -> points
BASELINES = {"loss": "unigram_entropy", "accuracy": "majority"}
CHARTED = ("loss", "/loss", "/accuracy", "/f1", "learning_rate", "gradient_norm", "tokens_per_second", "peak_share")


def read_series(run: Path) -> Series:
    """All curves of metrics.jsonl: `{"lm/loss": {"train": [(10, 4.1), ...], "validation": [...]}}`."""
    series: Series = {}
    for line in read_metrics(run):
        for name, value in line.items():
            if name not in ("step", "kind") and isinstance(value, int | float):
                series.setdefault(name, {}).setdefault(line["kind"], []).append((line["step"], value))
    return series


def write_report(
    run: Path,
    *,
    title: str,
    spec: str,
    facts: Mapping[str, str],
    samples: Mapping[str, str] | None = None,
) -> Path:
    """Writes report.md and report/*.svg from the run's metrics.jsonl and returns the report's path.

    `facts` become a table (parameters, tokens, devices, how it ended), `samples` maps prompts to continuations.
    Raises MachineError when the disk refuses.
    """
    series = read_series(run)
    parts = [f"# {title}", _table(("", ""), facts.items())]
    figures = _figures(series)
    if figures:
        parts += ["## Validation", _table(("figure", "last", "best", "unit", "meaning"), figures)]
    parts += list(_against_baselines(series))
    charts_written = _write_charts(run, series)
    if charts_written:
        parts += ["## Curves", *(f"![{name}](report/{file})" for name, file in charts_written)]
    if samples:
        parts += ["## Samples", *(f"**{_one_line(prompt)}**\n\n{_fenced(text)}" for prompt, text in samples.items())]
    parts += ["## Spec", _fenced(spec, "yaml")]
    write_file(run / "report.md", "\n\n".join(parts) + "\n")
    return run / "report.md"


def loss_chart(run: Path, *, width: int = 72, unicode: bool = True) -> list[str]:
    """The loss of training and validation in characters, for the end of a run on a terminal."""
    return charts.text(read_series(run).get("loss", {}), width=width, unicode=unicode)


def _figures(series: Series) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, kinds in series.items():
        points = kinds.get(tags.VALIDATION)
        tag = tags.find(name)
        if points and not tag.timed and name.rpartition("/")[2] not in BASELINES.values():
            step, best = (max if tag.higher_is_better else min)(points, key=lambda point: point[1])
            rows.append((name, f"{points[-1][1]:.4g}", f"{best:.4g} at step {step:g}", tag.unit, tag.description))
    return rows


def _baseline(series: Series, name: str) -> tuple[str, float] | None:
    """What a figure has to beat, by the same targets: a loss the unigram entropy, an accuracy the commonest label."""
    task, _, figure = name.rpartition("/")
    other = BASELINES.get(figure, "")
    points = series.get(f"{task}/{other}", {}).get(tags.VALIDATION)
    return (other.replace("_", " "), points[-1][1]) if task and points else None


def _against_baselines(series: Series) -> Iterator[str]:
    for name in series:
        baseline, points = _baseline(series, name), series[name].get(tags.VALIDATION)
        if baseline and points:
            what, limit, tag = *baseline, tags.find(name)
            last, unit = points[-1][1], f" {tag.unit}" if tag.unit else ""
            better = (last - limit) * (1 if tag.higher_is_better else -1)
            side = "better" if better >= 0 else "worse"
            yield f"**{name}** ends at {last:.4f}{unit}: {abs(better):.4f} {side} than the {what} of the same targets ({limit:.4f}{unit})."


def _write_charts(run: Path, series: Series) -> list[tuple[str, str]]:
    written = []
    for name, kinds in series.items():
        if any(name == wanted or (wanted.startswith("/") and name.endswith(wanted)) for wanted in CHARTED):
            tag, baseline = tags.find(name), _baseline(series, name)
            lines = dict([baseline]) if baseline else {}
            file = name.replace("/", "-") + ".svg"
            with machine_errors("the report cannot be written", run / "report"):
                (run / "report").mkdir(exist_ok=True)
            write_file(run / "report" / file, charts.svg(name, kinds, unit=tag.unit, lines=lines))
            written.append((name, file))
    return written


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_one_line(str(cell)).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fenced(text: str, language: str = "") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
