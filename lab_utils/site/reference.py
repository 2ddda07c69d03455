"""The reference of the core's public names, with their docstrings, as pages of the site; pdoc makes them."""

from __future__ import annotations

import warnings
from pathlib import Path

from nanokimi.system.atomic import write_text

# All that `import nanokimi` offers, and what is imported by its module's name; every page lists its names.
MODULES = (
    "nanokimi",
    "nanokimi.checkpoint",
    "nanokimi.count",
    "nanokimi.hub",
    "nanokimi.optim",
    "nanokimi.router",
    "nanokimi.steering",
)
FIRST = "nanokimi.html"


def write_reference(out: Path) -> None:
    """Write the pages into the folder `out`, the public names into `FIRST`. They run no script and load nothing."""
    # Here: it takes a second, and whoever asks about a page of a notebook needs none of it.
    from pdoc import doc, render, render_helpers

    render.configure(docformat="markdown", search=False, show_source=False)
    # In our docstrings every argument begins a line.
    render_helpers.markdown_extensions["break-on-newline"] = True
    modules = {name: doc.Module.from_name(name) for name in MODULES}
    public = modules["nanokimi"]
    for name in public.obj.__all__:
        getattr(public.obj, name)  # imported when it is first asked for
    # Three functions have the name of their module; the function is meant.
    public.submodules = []
    with warnings.catch_warnings():
        # pydantic's types of its own dataclasses are for type checkers alone.
        warnings.filterwarnings("ignore", message=".*PydanticDataclass", category=UserWarning)
        for name, module in modules.items():
            write_text(out / f"{name.replace('.', '/')}.html", render.html_module(module, modules))
