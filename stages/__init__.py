"""The stages of the pipeline, one module a stage, and the modules that they share.

A stage is started by DVC as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml``
says what it reads and writes.
"""
