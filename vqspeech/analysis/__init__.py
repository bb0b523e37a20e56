"""What the codes know: label files, phone sets and scores, as pure functions on arrays."""
