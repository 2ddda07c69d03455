"""The bank of known wrong answers, a module a notebook: each is code that runs, with what it means.

They are written to be wrong in the ways that learners are (and published code is): every one trains without
complaint. `checks` compares an answer that failed with them and names the one that it equals.
"""
