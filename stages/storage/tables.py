"""Read the tables that evaluate and compare write, with names unchanged."""

from pathlib import Path

import pandas as pd

# columns with names, which pandas might take for numbers or missing values: 007, nan, null
TEXTS = ("model", "curve", "part", "actual", "predicted", "class", "file", "label", "suggested")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table; missing values are NaN, except in columns of names, which stay text."""
    missing = {name: "" for name in pd.read_csv(path, nrows=0) if name not in TEXTS}
    texts = dict.fromkeys(TEXTS, str)
    return pd.read_csv(path, keep_default_na=False, na_values=missing, dtype=texts)
