"""Pieces for "find the bug": short, working-looking, each with one defect. A module a notebook.

Every piece here is wrong on purpose. The sound version is the core's, and the exercise asks for a test that
tells the two apart.
"""
