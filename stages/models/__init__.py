"""What is trained: encoders, fusions, heads and tasks; the tables they read; metrics and honest rows beside them."""
