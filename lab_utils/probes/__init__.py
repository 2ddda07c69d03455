"""The probes of the invariant inspector: each asks any module or function one thing and gives a `Finding`."""
