"""How a wrong answer that nobody foresaw is related to the right one: sentences that are computed on every input."""
