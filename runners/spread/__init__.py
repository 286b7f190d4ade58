"""Runners that spread frames by a hash."""
