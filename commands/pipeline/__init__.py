"""The pipeline as DVC and git see it: stages, lock files, keys of params.yaml, the working tree.
Shared by several commands."""
