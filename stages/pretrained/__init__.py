"""Other people's weights: found, checked, kept once and read."""
