"""What made pictures are worth: what a judge finds in them, how far they are from real ones, copies, variety."""
