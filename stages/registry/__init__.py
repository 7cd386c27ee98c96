"""Model versions in MLflow: what there is, where it comes from, which one is champion and why."""
