"""Registered models over HTTP: what `python -m stages.serve` runs."""
