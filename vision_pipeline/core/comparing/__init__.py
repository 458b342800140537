"""Whether an answer is the true one, by the kind of value that it is."""
