"""What the command replicate is made of: the rows in their order, and how far one has come."""
