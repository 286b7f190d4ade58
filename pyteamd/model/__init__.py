"""The vocabulary of the core: what happens (events), what is wanted and seen (state), and the words for it."""
