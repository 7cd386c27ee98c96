"""The stages of the pipeline: one module a stage, each run as `python -m stages.<stage> <name>`."""
