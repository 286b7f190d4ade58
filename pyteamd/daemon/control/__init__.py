"""How users and programs talk to a running daemon: one table of methods, several transports."""
