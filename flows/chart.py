"""Figures over time as one small drawing, which markdown in the Prefect UI shows: an SVG in a data: URI."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

WIDTH_PX, HEIGHT_PX, LEFT_PX, KEY_PX = 640, 200, 36, 18
COLOURS = ("#3b6fd4", "#d4713b", "#2f9e60", "#9447c7", "#b8860b", "#c73f5f")


def chart(lines: Mapping[str, Sequence[float | None]]) -> str:
    """Draw lines of figures in [0, 1], all over the same nights, the oldest first; return a data: URI.

    Args:
        lines: name → a figure for each night; None: that night has none.
    """
    n_nights = max((len(line) for line in lines.values()), default=0)
    body = [_grid(at) for at in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for n, (name, line) in enumerate(lines.items()):
        colour = COLOURS[n % len(COLOURS)]
        places = [(_x(night, n_nights), _y(value)) for night, value in enumerate(line) if value is not None]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
        body.append(_text(LEFT_PX + n * 100, HEIGHT_PX + KEY_PX - 5, name, colour))
    size = f'width="{WIDTH_PX}" height="{HEIGHT_PX + KEY_PX}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{ground}{"".join(body)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _x(night: int, n_nights: int) -> float:
    return LEFT_PX + night * (WIDTH_PX - LEFT_PX - 8) / max(n_nights - 1, 1)


def _y(value: float) -> float:
    return 8 + (1 - min(max(value, 0.0), 1.0)) * (HEIGHT_PX - 16)


def _grid(at: float) -> str:
    y = _y(at)
    return f'<line x1="{LEFT_PX}" x2="{WIDTH_PX}" y1="{y}" y2="{y}" stroke="#ddd"/>{_text(4, y + 4, f"{at:g}", "#666")}'


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="11" fill="{colour}">{text}</text>'
