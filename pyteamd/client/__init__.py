"""A library to talk to a running daemon, pyteamd or teamd."""
