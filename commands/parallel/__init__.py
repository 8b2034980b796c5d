"""``python -m commands.parallel``: run a pipeline's stages side by side on a Dask cluster; see
docs/scale.md. No stage imports it."""
