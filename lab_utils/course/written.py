"""How values are written in a panel: a few lines each, small ones whole, of large ones the place that counts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab_utils.course.differences import describe_kind

MOST_NUMBERS = 24  # of a tensor that is shown whole
MOST_LINES = 4  # of one value
MOST_ROWS = 8  # of a matrix that is shown whole
WIDTH = 72
LONGEST = 90  # letters of a line
_AROUND = 3  # entries on each side of the place that differs
_ROWS = 3  # of a large tensor
_WRITES_ITSELF = (bool, int, float, str, list, tuple, dict, type(None))


def as_text(value: Any, beside: Any = None) -> str:
    """A value in a few lines. Of a large one the entries around the first that is not as in `beside`."""
    if _holds_numbers(value):
        # Two that are compared are written alike, though one may have the longer numbers.
        alone = not _holds_numbers(beside) or beside.shape != value.shape
        whole = write_whole(value) if alone or write_whole(beside) else []
        return "\n".join(whole or _write_rows(value, beside))
    try:
        text = repr(value) if type(value) in _WRITES_ITSELF else describe_kind(value)
        if len(text) > LONGEST and isinstance(value, list | str) and type(value) is type(beside):
            text = _write_stretch(value, beside)
    except Exception:  # in a list, an object of the learner's whose text raises
        text = describe_kind(value)
    return text if len(text) <= 300 else text[:300] + " ..."


def write_whole(tensor: Tensor) -> list[str]:
    """All numbers of a small tensor, the rows of a matrix below each other; empty where that is not plain to read."""
    if tensor.numel() > MOST_NUMBERS:
        return []
    array = as_array(tensor)
    plainly = _is_written_plainly(array)
    rows = np.array2string(array, precision=4, suppress_small=plainly, max_line_width=WIDTH).splitlines()
    rows = [row for row in rows if row.strip()]  # numpy parts blocks by empty lines
    by_row = tensor.ndim == 2 and len(rows) == len(tensor)
    if tensor.ndim <= 2 and len(rows) <= (MOST_ROWS if by_row else MOST_LINES):
        return rows
    text = np.array2string(array, precision=4, suppress_small=plainly, separator=", ", max_line_width=10_000)
    text = re.sub(r"(?<=\[) +| +(?=[,\]])", "", re.sub(r"\s+", " ", text))
    return [text] if len(text) <= WIDTH else _break_between_rows(text)


def _break_between_rows(text: str) -> list[str]:
    """The rows of a nested list, each in a line of its own, or several in each where they are many; none where long."""
    rows = re.split(r"(?<=\],) (?=\[)", text)
    in_a_line = 1 if len(rows) <= MOST_ROWS else -(-len(rows) // MOST_LINES)
    lines, depth = [], 0
    for i in range(0, len(rows), in_a_line):
        line = " ".join(rows[i : i + in_a_line])
        lines.append(" " * depth + line)
        depth += line.count("[") - line.count("]")
    return lines if max(map(len, lines)) <= WIDTH else []


def as_array(tensor: Tensor) -> np.ndarray:
    """The numbers for numpy, which has no bfloat16, a zero without its sign."""
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return (tensor + 0.0 if tensor.is_floating_point() else tensor).numpy()


def _is_written_plainly(array: np.ndarray) -> bool:
    """Whether digits after the point are enough. Numbers that are all tiny would read 0: they get exponents."""
    sizes = np.abs(array[np.isfinite(array)])
    return not 0 < sizes.max(initial=0) < 1e-3


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, Tensor) and describe_kind(value).startswith("a tensor") and not value.is_meta


def _write_rows(tensor: Tensor, beside: Any) -> list[str]:
    """The first rows with an entry that differs, each after its place; the first rows where none can be compared."""
    array = as_array(tensor)
    rows, plainly = array.reshape(-1, array.shape[-1]), _is_written_plainly(array)
    wrong = np.zeros(rows.shape, dtype=bool)
    if _holds_numbers(beside) and beside.shape == tensor.shape:
        wrong = ~np.isclose(rows, as_array(beside).reshape(rows.shape), rtol=1e-5, atol=1e-5, equal_nan=True)
    chosen = np.flatnonzero(wrong.any(axis=1))[:_ROWS] if wrong.any() else range(min(_ROWS, len(rows)))
    lines = []
    for row in chosen:
        first = int(wrong[row].argmax())
        place = ", ".join(str(int(i)) for i in np.unravel_index(row, array.shape[:-1]))
        part, left, right = _window(len(rows[row]), first)
        text = np.array2string(rows[row][part], precision=4, suppress_small=plainly, max_line_width=10_000)
        lines.append(f"{f'[{place}]  ' if place else ''}{left}{text.strip('[]').strip()}{right}")
    return lines + ["..."] * (len(lines) < len(rows))


def _write_stretch(value: Any, beside: Any) -> str:
    """The entries of a list, or the letters of a text, around the first that differs, after its place."""
    first = next((i for i, pair in enumerate(zip(value, beside)) if pair[0] != pair[1]), len(beside))
    around = 30 if isinstance(value, str) else _AROUND
    part = slice(max(0, first - around), first + around + 1)
    return f"[{part.start}:{min(part.stop, len(value))}]  {value[part]!r}"


def _window(n: int, place: int) -> tuple[slice, str, str]:
    """The entries of a row around a place, and what stands for those that are left out on both sides."""
    if n <= 2 * _AROUND + 2:
        return slice(0, n), "", ""
    start = max(0, min(place - _AROUND, n - 2 * _AROUND - 1))
    stop = start + 2 * _AROUND + 1
    return slice(start, stop), "... " * (start > 0), f" ... ({start} to {stop - 1} of {n})"
