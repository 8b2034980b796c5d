"""The files beside an exported model: how to use it, its metrics, and digests of all files."""

from pathlib import Path
from typing import Any

from stages.conversion.names import DIGESTS
from stages.page.templates import make_environment
from stages.storage import files
from stages.storage.tables import read_table


def read_metrics(reports: Path) -> dict[str, Any]:
    """The selected model's metrics on both parts, and how it was selected, from the files of the
    stage compare in `reports`."""
    selection = files.read_json(reports / "selection.json")
    table = read_table(reports / "comparison.csv").set_index("model")
    row = table.loc[selection["selected"]]
    parts = {
        part: {
            name: float(row[f"{part}_{name}"]) for name in ("accuracy", "standard_error", "loss")
        }
        for part in ("validation", "test")
    }
    return {"model": selection["selected"], **parts, "selection": selection}


def write_readme(folder: Path, **values: Any) -> None:
    """Write README.md into `folder` from `values` named training, metrics and card."""
    template = make_environment(Path(__file__).parent).get_template("exports.md.jinja")
    files.write_text(folder / "README.md", template.render(values))


def write_digests(folder: Path) -> None:
    """Write the SHA-256 digests of all files in `folder`, for ``sha256sum --check``."""
    names = sorted(path.name for path in folder.iterdir())
    lines = [f"{files.sha256(folder / name)}  {name}\n" for name in names]
    files.write_text(folder / DIGESTS, "".join(lines))
