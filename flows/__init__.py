"""Prefect over DVC: when the graph runs and whether it is seen; DVC alone says what must run."""
