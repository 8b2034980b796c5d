"""What the command photographs does before the run."""
