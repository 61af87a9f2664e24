"""The command line: one file per verb, loaded on use."""
