"""pyteamd: the command line of the daemon and its sub-commands."""
