"""The drawings of single notebooks: data in, figure out. A module a notebook."""
