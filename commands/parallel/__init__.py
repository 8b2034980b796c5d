"""``python -m commands.parallel``: run a pipeline's stages in parallel on a Dask cluster; see
docs/scale.md. No stage imports it."""
