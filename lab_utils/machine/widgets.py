"""Widgets that end: with what they consist of, and when others take their place.

ipywidgets keeps every widget until somebody closes it, in the kernel and in the browser, and so do its layout, its
style and the pictures in it. A cell that is run again would leave the widgets of its last run behind.
"""

from __future__ import annotations

from IPython import get_ipython
from ipywidgets import Widget
from ipywidgets.widgets.widget import _instances

_PLACE = "_nanokimi_place"  # the attribute of a box that holds its place and the run that made it


def close_all(widget: Widget) -> None:
    """Close a widget and all that it consists of: children, layouts, styles."""
    parts = [getattr(widget, name) for name in widget.keys if name in widget.traits()]
    widget.close()
    for part in parts:
        for each in part if isinstance(part, list | tuple) else [part]:
            if isinstance(each, Widget) and each.comm is not None:
                close_all(each)


def as_lines(html: str) -> str:
    """A widget's HTML with its lines as near as in a text: else they stand as far apart as buttons."""
    return f'<div style="line-height:1.4;padding:.3em 0">{html}</div>'


def take_place(box: Widget, place: str = "") -> None:
    """Close the boxes that had this place before: those that an earlier run of the running cell made.

    A `place` with a name is taken by one box alone, whatever cell makes it. Where the front end does not say which
    cell runs, a place without a name has no older boxes.
    """
    cell, run = (place, "") if place else _running_cell()
    if not cell:
        return
    for other in list(_instances.values()):
        there = getattr(other, _PLACE, None)
        if there is not None and there[0] == cell and (place or there[1] != run):
            close_all(other)
    setattr(box, _PLACE, (cell, run))


def _running_cell() -> tuple[str, str]:
    """The cell that runs now, as JupyterLab and VS Code name it, and the number of its run; else empty texts."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return "", ""
    asked = kernel.get_parent("shell")
    return asked.get("metadata", {}).get("cellId", ""), asked.get("header", {}).get("msg_id", "")
