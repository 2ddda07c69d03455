"""How anything is shown: tables, pictures that stay in a notebook, notes, source code, and one style for all."""
