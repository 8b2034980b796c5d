"""The pipeline as DVC and git know it: the stages and what is out of date, lock files, keys of
params.yaml, the working tree. Several commands use it."""
