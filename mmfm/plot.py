"""Tensors and numbers -> pictures."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image

Points = Sequence[tuple[float, float]]


def curve(points: Points | Mapping[str, Points], *, x: str, y: str) -> Image.Image:
    """Draw one line, or several with their names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    lines = points if isinstance(points, Mapping) else {"": points}
    for name, line in lines.items():
        axes.plot([a for a, _ in line], [b for _, b in line], label=name)
    if any(lines):
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")
