"""The Team: pure decisions, from events to writes."""
