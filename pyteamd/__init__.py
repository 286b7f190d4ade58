"""pyteamd: the user-space half of the Linux team driver."""

__version__ = "1.0.0rc1"
