"""What a training on many ranks computes, holds, sends and waits for, as formulas; notebook 11 measures them."""
