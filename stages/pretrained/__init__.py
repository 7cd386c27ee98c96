"""Other people's weights: found, checked and read."""
