"""Hyperparameter search: trials of an experiment in a clone, what came of them, the best one as a diff."""
