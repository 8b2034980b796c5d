"""The second pipeline: the documents' experiments, each with its own data, architecture and recipe;
``replications/dvc.yaml``.

Its stages call the functions of the first pipeline's stages; only where they read and write
differs.
"""
