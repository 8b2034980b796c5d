"""Atomic writes of files, the prepared data that training and evaluation read, tables, and weights
from HDF5 files."""
