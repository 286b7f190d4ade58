"""The kernel as the daemon sees it: its interface (api.py), and the real one behind it."""
