"""What all stands on, and what knows nothing of the rest: errors, artifacts, addresses, device, tracking store."""
