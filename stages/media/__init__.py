"""One file a kind of medium: bytes checked, cleaned and decoded."""
