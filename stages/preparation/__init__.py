"""From raw images to the arrays that training reads: the split into parts, and the preprocessing of
each image."""
