"""A Python that has no packages but those that the Docker image installs."""

import json
import re
from importlib.metadata import packages_distributions
from pathlib import Path

from support.project import ROOT

# Python imports it at its start; the finders behind find the modules of packages
HIDE = """import json
from importlib.machinery import PathFinder

HIDDEN = {{*json.loads({names!r})}}
find_spec = PathFinder.find_spec


def find(name, path=None, target=None):
    hidden = path is None and name in HIDDEN
    return None if hidden else find_spec(name, path, target)


PathFinder.find_spec = find
"""


def normalise(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def hide_all_but_served(folder: Path) -> str:
    """Write a module into `folder` that hides the installed packages that requirements-serve.txt
    does not list, our own excepted. Returns the folder, for PYTHONPATH."""
    text = (ROOT / "requirements-serve.txt").read_text(encoding="utf-8")
    served = {normalise(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    hidden = [
        module
        for module, packages in packages_distributions().items()
        if module not in ("commands", "stages") and served.isdisjoint(map(normalise, packages))
    ]
    assert {"pandas", "keras", "dvc"} <= {*hidden} and "numpy" not in hidden
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(names=json.dumps(hidden)))
    return str(folder)
