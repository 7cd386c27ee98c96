"""A version as it travels: logged, loaded and asked anywhere, scored again by its own code."""
