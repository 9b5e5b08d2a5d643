"""Checkpoints, recipes, templates and pictures of our own; installed as mmfm.assets."""
