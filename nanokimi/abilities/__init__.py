"""What a trained model can do, beyond its loss: facts, copies, grammar, variety, and what it repeats from its text."""
