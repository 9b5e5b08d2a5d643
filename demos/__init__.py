"""The pages, one a file; installed as mmfm.demos."""
