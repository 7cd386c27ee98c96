"""Tasks that a language model answers in words."""
