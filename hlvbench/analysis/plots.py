"""Figures of an analysis as PNG bytes: colour-blind safe, readable without colour, intervals drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from ..errors import UsageError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe & Ito's palette: told apart with every common colour vision."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_NUMBERS = 12
"""Rows of a heat map whose cells still have room for their numbers."""
_REDUCED = {"none": "no content removed", "item": "less the item mean", "input": "less the input"}


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure and its (rows, columns) axes, in inches; no global state, no display."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("figures need matplotlib, which is not installed: pip install 'hlvbench[plots]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    # no Software entry: the bytes should not depend on more than the figure
    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def agreement_png(result: Mapping[str, Any]) -> bytes:
    """Two heat maps of an analysis: κ of every pair of annotators, and the share of every label per annotator."""
    annotators, labels = result["annotators"], result["labels"]["labels"]
    size = max(3.2, 0.75 * len(annotators) if len(annotators) <= MOST_NUMBERS else min(20.0, 0.3 * len(annotators)))
    figure, axes = _figure(size + max(4.0, 0.7 * len(labels)) + 2.2, size + 1.2, columns=2,
                           width_ratios=[size, max(4.0, 0.7 * len(labels))])  # fmt: skip
    table, low, high = (np.full((len(annotators), len(annotators)), np.nan) for _ in range(3))
    for pair in result["agreement"]["pairs"]:
        if pair["kappa"] is not None:
            a, b = annotators.index(pair["a"]), annotators.index(pair["b"])
            for matrix, key in ((table, "kappa"), (low, "low"), (high, "high")):
                matrix[a, b] = matrix[b, a] = pair[key]
    every = range(len(annotators))
    texts = [[_cell(table[a, b], low[a, b], high[a, b]) for b in every] for a in every]
    _heat_map(figure, axes[0, 0], table, texts, annotators, annotators, "κ")
    shown = ",\n95 % interval over items" if len(annotators) <= MOST_NUMBERS else ""
    axes[0, 0].set_title(f"{result['agreement']['measure']}{shown}", fontsize=10)
    shares = np.array([result["labels"]["shares"][a] for a in annotators])
    _heat_map(figure, axes[0, 1], shares, [[f"{v:.2f}" for v in row] for row in shares], labels, annotators, "share")
    axes[0, 1].set_title("Share of each label in the annotator's records", fontsize=10)
    figure.suptitle(f"{result['task']}: how annotators label", fontsize=12)
    return _png(figure)


def _cell(value: float, low: float, high: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}\n[{low:.2f}, {high:.2f}]"


def _heat_map(
    figure: Any, axis: Any, table: np.ndarray, texts: Sequence[Sequence[str]], columns: Sequence[Any],
    rows: Sequence[Any], scale: str,
) -> None:  # fmt: skip
    """A table as shades of one colour, its numbers inside where they fit."""
    low, top = min(0.0, np.nanmin(table, initial=0.0)), (1.0 if scale == "κ" else np.nanmax(table, initial=1e-9))
    axis.set_facecolor("0.85")
    image = axis.imshow(table, cmap="Blues", vmin=low, vmax=top, aspect="auto")
    axis.set_xticks(range(len(columns)), [str(c) for c in columns], fontsize=8,
                    rotation=90 if len(columns) > MOST_NUMBERS else 0)  # fmt: skip
    axis.set_yticks(range(len(rows)), [str(r) for r in rows], fontsize=8)
    axis.tick_params(length=0)
    if max(len(columns), len(rows)) > MOST_NUMBERS:
        figure.colorbar(image, ax=axis, label=scale, shrink=0.8)
        return
    for y, line in enumerate(texts):
        for x, text in enumerate(line):
            dark = not np.isnan(table[y, x]) and (table[y, x] - low) > 0.6 * (top - low)
            axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")


def curve_png(task: str, methods: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str]) -> bytes:
    """A panel per score: a line per method against how many train items were shown, all of them at the right."""
    known = {point["history"] for points in methods.values() for point in points}
    steps = [*sorted(h for h in known if h is not None), *([None] if None in known else [])]
    figure, axes = _figure(2.7 * len(names), 3.4, 1, len(names))
    for axis, name in zip(axes[0], names, strict=True):
        for (method, points), colour, marker in zip(methods.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
            shown = [(steps.index(p["history"]), p["scores"].get(name, {"value": None})) for p in points]
            for place, score in shown:
                _point(axis, score["value"], place, score, colour, marker, upright=True)
            line = [(x, score["value"]) for x, score in shown if score["value"] is not None]
            axis.plot([x for x, _ in line], [y for _, y in line], color=colour, linewidth=1, label=method)
        axis.set_xticks(range(len(steps)), ["all" if h is None else str(h) for h in steps], fontsize=8)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", linewidth=0.4)
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("train items shown per annotator", fontsize=9)
    figure.suptitle(f"{task}: learning curve, 95 % intervals", fontsize=11)
    return _png(figure)


def style_png(result: Mapping[str, Any]) -> bytes:
    """A panel per style feature: the mean of every annotator with its interval."""
    annotators, names = result["annotators"], result["style"]["features"]
    columns, step = 3, (0.26 if len(annotators) <= MOST_NUMBERS else 0.14)
    rows = -(-len(names) // columns)
    height = min(7.0, max(1.3, step * len(annotators) + 0.6))
    figure, axes = _figure(3.6 * columns, rows * height, rows, columns, sharey=True)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    by = {(row["feature"], row["annotator"]): row for row in result["style"]["rows"]}
    for name, axis in zip(names, axes.flat, strict=False):
        styles = zip(annotators, cycle(COLOURS), cycle(MARKERS), strict=False)
        for place, (annotator, colour, marker) in enumerate(styles):
            row = by[name, annotator]
            _point(axis, row["value"], place, row, colour, marker)
        axis.set_title(_title(name, result["style"]["fields"]), fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", linewidth=0.4)
        axis.margins(x=0.08, y=0.15)
    axes[0, 0].set_yticks(range(len(annotators)), annotators, fontsize=8 if step > 0.2 else 6)
    axes[0, 0].invert_yaxis()
    figure.suptitle(f"{result['task']}: how annotators write, mean per explanation with 95 % interval", fontsize=12)
    return _png(figure)


def _title(feature: str, fields: Sequence[str]) -> str:
    """reused_1 -> share of words in the first input text, by its name."""
    start, _, number = feature.rpartition("_")
    return f"share of words in {fields[int(number) - 1]}" if start == "reused" else feature.replace("_", " ")


def _point(
    axis: Any, value: float | None, place: float, row: Mapping[str, Any], colour: str, marker: str,
    upright: bool = False,
) -> None:  # fmt: skip
    if value is None:
        return
    reach = None if row["low"] is None else [[max(0.0, value - row["low"])], [max(0.0, row["high"] - value)]]
    drawn = {"color": colour, "marker": marker, "markersize": 5, "capsize": 3, "linewidth": 1.2}
    if upright:
        axis.errorbar([place], [value], yerr=reach, **drawn)
    else:
        axis.errorbar([value], [place], xerr=reach, **drawn)


def detectability_png(result: Mapping[str, Any]) -> bytes:
    """Accuracy and confidence of telling annotators apart against the group size, a column of panels per feature space.

    Colour and marker tell the content reduction, line and filling the view; the dotted line is chance.
    """
    spaces = (
        ("embedding", "sentence embeddings"),
        ("chargram", "character n-grams"),
        ("control", "controls, raw view"),
    )
    figure, axes = _figure(13, 8, 2, 3, sharex=True, sharey=True)
    for line, kind in enumerate(("accuracy", "confidence")):
        for column, (space, title) in enumerate(spaces):
            axis = axes[line, column]
            _curves(axis, result["detectability"], space, kind)
            axis.set_ylim(0, 1.03)
            axis.grid(linewidth=0.4)
            if line == 0:
                axis.set_title(title, fontsize=11)
            if line == 1:
                axis.set_xlabel("explanations in a group, m")
            if column == 0:
                axis.set_ylabel(
                    {"accuracy": "share given to their writer", "confidence": "probability of the writer"}[kind]
                )
            if line == 1 and axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=8, loc="lower right", framealpha=0.9)
    figure.suptitle(
        f"{result['task']}, {result['split']}: who wrote these m explanations? 95 % intervals over items", fontsize=12
    )
    return _png(figure)


def _curves(axis: Any, rows: Sequence[Mapping[str, Any]], space: str, kind: str) -> None:
    """The curves of one panel, slightly apart so that their intervals do not cover each other."""
    sizes = sorted({row["m"] for row in rows})
    curves: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        inside = row["space"] == space or (space == "control" and row["space"] not in ("embedding", "chargram"))
        if inside and row[kind] is not None:
            curves.setdefault((row["space"], row["reduce"], row["view"]), []).append(row)
    for place, ((name, reduce, view), found) in enumerate(curves.items()):
        number = list(_REDUCED).index(reduce) if space != "control" else 3 + place
        raw, colour = view == "raw", COLOURS[number]
        x = [sizes.index(row["m"]) + (place - (len(curves) - 1) / 2) * 0.07 for row in found]
        y = np.array([row[kind] for row in found])
        reach = np.array([[row[kind] - row[f"{kind}_low"], row[f"{kind}_high"] - row[kind]] for row in found]).T
        label = f"{view}, {_REDUCED[reduce]}" if space != "control" else f"{name} only"
        axis.errorbar(
            x, y, yerr=np.maximum(reach, 0), color=colour, marker=MARKERS[number], markersize=5.5, capsize=2.5,
            linewidth=1.3, elinewidth=0.9, linestyle="-" if raw else "--",
            markerfacecolor=colour if raw else "white", label=label,
        )  # fmt: skip
    chance = {row["m"]: row["chance"] for found in curves.values() for row in found}
    if chance:
        # a person without m answers is not told apart at that m: chance is 1 / the others
        places, heights = [-0.6, *map(sizes.index, chance), len(sizes) - 0.4], list(chance.values())
        heights = [heights[0], *heights, heights[-1]]
        axis.step(places, heights, where="mid", color="black", linestyle=":", linewidth=1.2, label="chance")
    axis.set_xlim(-0.6, len(sizes) - 0.4)
    axis.set_xticks(range(len(sizes)), [str(m) for m in sizes])
    if not curves:
        axis.text(0.5, 0.5, "not enough answers", ha="center", va="center", transform=axis.transAxes)
