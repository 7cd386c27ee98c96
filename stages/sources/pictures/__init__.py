"""Data sets of drawn pictures with names."""
