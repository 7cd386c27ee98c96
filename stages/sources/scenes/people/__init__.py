"""People who look at scenes, listen to them and read of them."""
