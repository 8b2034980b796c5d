"""The second pipeline, ``replications/dvc.yaml``: the documents' experiments, each with its own
data, architecture and recipe.

Its stages call the functions of the first pipeline's stages, and differ only in where they read and
write.
"""
