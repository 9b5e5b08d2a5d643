"""What the models learn from and look at."""
