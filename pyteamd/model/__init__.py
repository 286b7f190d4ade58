"""The vocabulary of the core: what happens (events), what is wanted and seen (desired), and the words for it."""
