"""The kernel as the daemon sees it: one interface, a real one and a simulated one."""
