"""How anything is shown: tables, heat maps, pictures that stay in a notebook, notes, source code, one style."""
