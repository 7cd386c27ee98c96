"""What a retraining is called: by its lock, by Prefect, and by the event that starts one."""

WHAT = "retraining"
FLOW, NAME = "retrain", "nightly"
EVENT = "dataset.updated"
