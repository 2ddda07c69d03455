"""The training panel of notebook 08: watch a training, pause it, stop it, steer it."""
