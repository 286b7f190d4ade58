"""pyteamdctl: ask a running team daemon, or tell it something."""
