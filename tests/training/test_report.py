"""What a person reads: the bar, the curves in characters and SVG, and the report."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.training import charts
from lmkit.training.bar import Bar, duration, filled, short
from lmkit.training.logging import Logger
from lmkit.training.report import loss_chart, read_series, write_report

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
POINTS = st.lists(st.tuples(st.integers(0, 10**6).map(float), NUMBERS), max_size=50)


def run(directory: Path) -> Path:
    logger = Logger(directory)
    for step in range(10, 101, 10):
        logger(
            step, {"train/loss": 5 - step / 50, "train/lm/loss": 5 - step / 50, "train/learning_rate": 1e-3, "train/tokens_per_second": 9.0}
        )
    for step, loss in ((50, 4.5), (90, 3.0), (100, 3.2)):
        logger(step, {"validation/loss": loss, "validation/lm/loss": loss, "validation/lm/unigram_entropy": 4.0, "validation/seconds": 1.0})
    logger.close()
    return directory


def test_the_report_has_spec_figures_baseline_curves_and_samples(tmp_path: Path) -> None:
    path = write_report(
        run(tmp_path), title="tiny", spec="name: tiny\n", facts={"parameters": "1,234"}, samples={"Once | upon": "a time\n```\nfence"}
    )
    text = path.read_text()
    assert text.startswith("# tiny\n") and "| parameters | 1,234 |" in text and "```yaml\nname: tiny\n```" in text
    assert "| lm/loss | 3.2 | 3 at step 90 | nat |" in text and "| seconds" not in text
    assert "**lm/loss** ends at 3.2000 nat: 0.8000 better than the unigram entropy of the same targets (4.0000 nat)." in text
    assert "````\na time\n```\nfence\n````" in text
    for name in ("loss", "lm-loss", "learning_rate", "tokens_per_second"):
        assert f"report/{name}.svg" in text and (tmp_path / "report" / f"{name}.svg").is_file()


def test_a_run_without_a_single_point_has_a_report_too(tmp_path: Path) -> None:
    assert "## Spec" in write_report(tmp_path, title="t", spec="x", facts={}).read_text()
    assert loss_chart(tmp_path) == []


def test_series_are_read_back_as_logged(tmp_path: Path) -> None:
    assert read_series(run(tmp_path))["loss"]["validation"] == [(50, 4.5), (90, 3.0), (100, 3.2)]


def test_the_loss_falls_from_the_upper_left_to_the_lower_right_of_the_terminal(tmp_path: Path) -> None:
    lines = loss_chart(run(tmp_path), width=60)
    assert all(len(line) <= 60 for line in lines)
    rows = [line.partition("│")[2] for line in lines[:-2]]
    assert [rows[0].index("·"), rows[-1].rindex("·")] == [0, max(map(len, rows)) - 1]
    assert "10" in lines[-2] and "step 100" in lines[-2] and "● validation" in lines[-1]
    assert "".join(loss_chart(tmp_path, unicode=False)).isascii()


@given(st.dictionaries(st.text(max_size=5), POINTS, max_size=3), st.integers(20, 120))
def test_any_curves_can_be_drawn(curves: dict[str, list[tuple[float, float]]], width: int) -> None:
    for line in charts.text(curves, width=width)[:-1]:
        assert len(line) <= max(width, 40)
    drawing = ElementTree.fromstring("".join(c for c in charts.svg("t", curves, lines={"b": 1.0}) if c.isprintable() or c == "\n"))
    for line in drawing.iter("{http://www.w3.org/2000/svg}polyline"):
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT


@given(NUMBERS, st.floats(1e-6, 1e6))
def test_ticks_are_few_even_and_inside(low: float, span: float) -> None:
    if low + span <= low or abs(low) > 1e6 * span:
        return
    found = charts.ticks(low, low + span)
    assert 2 <= len(found) <= 12
    slack = 1e-6 * max(abs(low), span)
    assert all(low - slack <= tick <= low + span + slack for tick in found)


def test_thinning_keeps_the_mean_and_drops_what_is_not_finite() -> None:
    points = [(float(i), float(i % 7)) for i in range(700)]
    thin = charts.thinned([*points, (900.0, math.nan)], 100)
    assert len(thin) == 100
    assert sum(b for _, b in thin) / len(thin) == pytest.approx(3.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drive(*, is_terminal: bool, seconds: float = 1.0, total: int = 40, width: int = 80, unicode: bool = True) -> list[str]:
    written: list[str] = []
    clock = Clock()
    bar = Bar(written.append, is_terminal=is_terminal, width=width, tokens_per_step=1000, unicode=unicode, clock=clock)
    for step in range(1, total + 1):
        clock.now += seconds
        bar(step, total, {"loss": 5.0 - step / 10})
        if step == 20:
            bar.line("checkpoint saved")
    bar.close()
    return written


def test_on_a_terminal_one_line_is_redrawn_and_stays_within_the_width() -> None:
    for width in (30, 80, 200):
        screens = "".join(drive(is_terminal=True, width=width)).replace("\n", "\r").split("\r")
        assert max(map(len, screens)) <= width - 1
    assert "loss 1 " in screens[-2] and "40/40" in screens[-2] and "1k tokens/s" in screens[-2]
    assert any("ETA 0:20" in screen for screen in screens), "half of 40 steps of one second"
    assert "checkpoint saved" in screens


def test_piped_there_are_whole_lines_now_and_then_and_the_last_step() -> None:
    lines = "".join(drive(is_terminal=False)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["1/40", "16/40", "31/40", "40/40"]
    assert "checkpoint saved" in lines and "\r" not in "".join(lines)


def test_a_plain_terminal_gets_plain_characters() -> None:
    assert "".join(drive(is_terminal=True, unicode=False)).isascii()
    assert filled(0.5, 6, unicode=False) == "###..."


@given(st.floats(0, 1), st.integers(1, 60))
def test_the_bar_has_its_width_and_never_shrinks(share: float, width: int) -> None:
    def solid(text: str) -> int:
        return sum(" ▏▎▍▌▋▊▉█".index(c) for c in text)

    assert len(filled(share, width)) == width
    assert solid(filled(share / 2, width)) <= solid(filled(share, width))
    assert filled(1.0, width) == "█" * width and filled(0.0, width).strip() == ""


def test_numbers_and_durations_are_short() -> None:
    assert [short(n) for n in (7, 950, 12345, 2.5e6, 3e9)] == ["7", "950", "12.3k", "2.5M", "3B"]
    assert [duration(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
