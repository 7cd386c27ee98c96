"""A registered version made again from its commit, and compared."""
