"""How a configuration is written: option declarations, checks, problems with their place in the text."""
