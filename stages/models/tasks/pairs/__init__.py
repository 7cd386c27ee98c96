"""Tasks about two sides: which belongs to which, and whether they belong together."""
