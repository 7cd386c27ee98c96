"""Features kept by the content of their media."""
