"""Runs shown in TensorBoard, trackio and Weights & Biases, which are extras: nothing that trains imports this."""
