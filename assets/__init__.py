"""Checkpoints, recipes and pictures of our own; installed as mmfm.assets."""
