"""Experiments run side by side, and the table that compares them."""
