"""The library of `commands.search`: a hyperparameter search as an Optuna study whose trials are
runs of the pipeline; see docs/search.md. No stage imports it."""
