"""pyteamd: the user-space half of the Linux team driver."""

__version__ = "0.1.0"
