"""Curves as SVG for the report and as characters for the terminal, from points alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
COLORS = ("#1f6feb", "#d1570a", "#1a7f37", "#8250df", "#bf3989", "#57606a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 64, 16, 40, 40
MOST_POINTS = 600


def svg(title: str, curves: Mapping[str, Points], *, unit: str = "", lines: Mapping[str, float] | None = None) -> str:
    """A chart of `curves` over steps; `lines` are horizontal references such as a baseline."""
    lines = lines or {}
    thin = {name: thinned(points, MOST_POINTS) for name, points in curves.items()}
    left, right, low, high = _extent(thin, lines.values())
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + (value - left) / (right - left) * plot_width

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * plot_height

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(title)}{f" ({escape(unit)})" if unit else ""}</text>',
    ]
    for tick in ticks(low, high):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#57606a">{tick:g}</text>')
    for tick in ticks(left, right):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#57606a">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end" fill="#57606a">step</text>')
    legend = LEFT + 0.0
    for i, (name, points) in enumerate([*thin.items(), *((n, [(left, v), (right, v)]) for n, v in lines.items())]):
        dashed = ' stroke-dasharray="6 4"' if i >= len(thin) else ""
        color = COLORS[i % len(COLORS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.6"{dashed} points="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3" fill="{color}"/>')
        parts.append(f'<text x="{legend:.0f}" y="34" fill="{color}">{escape(name)}</text>')
        legend += 7.0 * len(name) + 18
    return "\n".join([*parts, "</svg>", ""])


def text(curves: Mapping[str, Points], *, width: int = 72, height: int = 12, unicode: bool = True) -> list[str]:
    """A chart in characters, at most `width` wide, with the range of values at the left and of steps below."""
    marks = ("·", "●", "▲", "■") if unicode else (".", "o", "^", "#")
    curves = {name: points for name, points in sorted(curves.items()) if points}
    if not curves:
        return []
    left, right, low, high = _extent(curves, ())
    labels = [f"{high:.4g}", f"{(low + high) / 2:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels)) + 1
    columns = max(width - margin - 1, 10)
    grid = [[" "] * columns for _ in range(height)]
    for mark, points in zip(marks, curves.values(), strict=False):
        for a, b in thinned(points, columns * 2):
            column, row = round((a - left) / (right - left) * (columns - 1)), round((high - b) / (high - low) * (height - 1))
            grid[row][column] = mark
    rows = {0: labels[0], (height - 1) // 2: labels[1], height - 1: labels[2]}
    bar = "│" if unicode else "|"
    lines = [f"{rows.get(i, ''):>{margin}}{bar}{''.join(row)}".rstrip() for i, row in enumerate(grid)]
    ends = f"{left:g}", f"step {right:g}"
    legend = "   ".join(f"{mark} {name}" for mark, name in zip(marks, curves, strict=False))
    lines.append(" " * (margin + 1) + ends[0] + ends[1].rjust(columns - len(ends[0])))
    return [*lines, " " * (margin + 1) + legend]


def thinned(points: Points, most: int) -> Points:
    """At most `most` points: neighbours are averaged."""
    points = [(a, b) for a, b in points if math.isfinite(b)]
    size = math.ceil(len(points) / most) if points else 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(a for a, _ in group) / len(group), sum(b for _, b in group) / len(group)) for group in groups]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between low and high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _extent(curves: Mapping[str, Points], lines: Iterable[float]) -> tuple[float, float, float, float]:
    steps = [a for points in curves.values() for a, _ in points] or [0.0]
    values = [b for points in curves.values() for _, b in points] + list(lines) or [0.0]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    if right <= left:
        right = left + 1
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        spread = max(0.5, 1e-3 * abs(low))
        low, high = low - spread, high + spread
    return left, right, low, high
