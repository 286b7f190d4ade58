"""pyteamnl."""
