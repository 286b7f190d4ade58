"""The configuration of a team, read from text, and what is documented from it."""
