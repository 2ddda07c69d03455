"""A faithful miniature of the Kimi K2 architecture, its GPT baseline, and what trains and measures them.

Import from the module that holds the idea, as in `from nanokimi.router import topk_route`.
"""

__version__ = "0.2.0"
