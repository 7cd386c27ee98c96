"""Retraining on a schedule: what is new, who is at work, what killed runs left, the report."""
