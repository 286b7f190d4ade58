"""pyteamnl: the team driver's ports and options, past any daemon."""
