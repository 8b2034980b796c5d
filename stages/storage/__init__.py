"""Files that appear whole or not at all, the prepared data that training and evaluation read,
tables, and arrays out of HDF5 files."""
