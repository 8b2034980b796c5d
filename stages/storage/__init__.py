"""Files that appear whole or not at all, and the prepared data that training
and evaluation read."""
