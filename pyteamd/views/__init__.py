"""What people are told of a Team: read only."""
