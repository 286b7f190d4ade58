"""Exit statuses of the programs people type. Those of the daemon, which units go by, are in daemon/process.py."""

OK, FAILED, USAGE = 0, 1, 2
