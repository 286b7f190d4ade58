"""Scripts that make things happen to a team on a simulated kernel."""
