"""Bonding configurations to teams and back."""
