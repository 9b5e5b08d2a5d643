"""The models, each one file that reads from top to bottom."""
