"""The stages of the pipeline, one module per stage, and the packages that they share.

DVC starts a stage as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml`` declares
what it reads and writes.
"""
