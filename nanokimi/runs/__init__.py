"""The folder of a run: who owns it, what it holds, and whether what a checkpoint claims can be true."""
