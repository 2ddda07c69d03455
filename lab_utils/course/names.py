"""The names that a piece of code takes from elsewhere."""

from __future__ import annotations

import symtable


def free_names(source: str) -> set[str]:
    """The names that `source` reads, in its functions too, and that come from the module around it or from Python.

    What it both defines and reads is among them. Raises `SyntaxError`.
    """
    return _read_in(symtable.symtable(source, "answer", "exec"))


def _read_in(table: symtable.SymbolTable) -> set[str]:
    is_outermost = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (is_outermost or s.is_global())}
    return own.union(*map(_read_in, table.get_children()))
