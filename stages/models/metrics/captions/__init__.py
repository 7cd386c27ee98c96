"""Metrics of captions and other written texts, one file a metric, all of them in `scores`."""
