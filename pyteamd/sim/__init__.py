"""A kernel that is a plain object."""
