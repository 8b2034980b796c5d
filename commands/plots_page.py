"""Regenerate ``.dvc/plots.html``, the template of ``dvc plots show`` and ``dvc plots diff``, after
an update of vl-convert-python.

The template is in git, so both commands work in a fresh clone without internet access.
"""

from pathlib import Path

from stages.page.bundle import fill_plots_page
from stages.runtime import cli
from stages.storage import files

PAGE = Path(".dvc/plots.html")  # named in .dvc/config


def main() -> None:
    cli.require_project()
    files.write_text(PAGE, fill_plots_page())
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, __doc__)
