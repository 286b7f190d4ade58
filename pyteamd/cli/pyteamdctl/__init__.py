"""pyteamdctl."""
