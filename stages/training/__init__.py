"""The training loop: batches, the module, curves, and fitting to the best epoch."""
