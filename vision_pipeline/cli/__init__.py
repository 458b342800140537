"""The command line: the only part that imports the flows."""
