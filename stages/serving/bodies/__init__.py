"""Bodies of requests and answers: what is read, what is described, and what comes in parts."""
