"""The small project of the tests and of some benchmarks: the real stages and the real DVC, in a
temporary folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend
from support.example import set_example

ROOT = Path(__file__).parents[2]
PARTS = (
    "stages",
    "commands",
    "data/dvc.yaml",
    "data/official",
    "replications/dvc.yaml",
    "replications/params.yaml",
    "replications/published.yaml",
    "replications/published_curves.csv",
    "replications/from-scratch.txt",
    "dvc.yaml",
    "params.yaml",
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvc/plots",
    ".dvc/plots.html",
    ".dvcignore",
    ".gitattributes",
    ".gitignore",
)
ARCHITECTURES = (
    "mnist-dense", "fashion-2blocks", "mnist-convnet", "cifar100-simple-cnn", "pretrained-small",
)  # fmt: skip
REPLICATIONS = ("mnist-dense", "cifar100-simple-cnn", "cifar100-simple-cnn-more")
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@example.org")  # options of git


def own_environment() -> dict[str, str]:
    """This process's environment without the variables of backends and OpenBLAS, which
    `backend.start` may have set: what a user's process starts with."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*backend.LIBRARIES, "OPENBLAS_"))
    }


class Project:
    """A folder with a copy of the project, in which tests run commands and inspect the results."""

    def __init__(self, folder: Path):
        self.folder = folder

    def environment(self) -> dict[str, str]:
        # `python` in dvc.yaml is the one that runs the tests
        scripts = str(Path(sys.executable).parent)
        variables = own_environment() | {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
        }
        # otherwise each process would compile the project's modules again
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        return variables

    def start(self, *command: str) -> subprocess.Popen:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command: str, status: int = 0) -> str:
        """The output of a command, which must have the exit status `status`."""
        process = self.start(*command)
        output, _ = process.communicate()
        assert process.returncode == status, output
        return output

    def dvc(self, *arguments: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, status=status)

    def stage(self, module: str, *arguments: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", f"stages.{module}", *arguments, status=status)

    def command(self, module: str, *arguments: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", f"commands.{module}", *arguments, status=status)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", *AUTHOR, "commit", "--quiet", "--message", "a state")

    def changes(self) -> list[str]:
        return self.run("git", "status", "--porcelain").splitlines()

    def path(self, name: str) -> Path:
        return self.folder / name

    def read_json(self, name: str) -> Any:
        return files.read_json(self.path(name))

    def find_selected(self) -> str:
        """The name of the selected model."""
        return self.read_json("reports/selection.json")["selected"]

    def edit_params(self, change: Callable[[Any], None], name: str = "params.yaml") -> None:
        yaml = YAML()
        content = yaml.load(self.path(name))
        change(content)
        yaml.dump(content, self.path(name))


def data_json(shape: list[int], classes: int) -> dict[str, Any]:
    """What preprocess writes to data.json for images of `shape` (height, width, channels)."""
    return {
        "dataset": "made-up",
        "class_names": [f"class {number}" for number in range(classes)],
        "image_shape": shape,
        "decoded_channels": shape[2],
        "preprocess": {},
        "rescaling": {"scale": [1 / 255] * shape[2], "offset": [0.0] * shape[2]},
        "validation_is_test": False,
        "validation_is_training": False,
    }


def write_prepared(
    folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], classes: int, **more: Any
) -> Prepared:
    """Prepared data in `folder`: images (uint8) and labels of each part, data.json with `more`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in parts.items():
        np.save(folder / f"{part}.npy", images)
        np.save(folder / f"{part}_labels.npy", labels)
    shape = list(parts["train"][0].shape[1:])
    files.write_json(folder / "data.json", data_json(shape, classes) | more)
    return Prepared(folder)


def ran(output: str) -> list[str]:
    """The stages that DVC says it ran, in order."""
    return [
        line.split("'")[1].split(":")[-1]
        for line in output.splitlines()
        if line.startswith("Running stage ")
    ]


def shrink(params: Any) -> None:
    """Train two small networks, one with dropout and batch norm, for two epochs. Keep only
    the others that tests or replications use, since every DVC command reads all."""
    set_example(params)
    params["architectures"] = {name: params["architectures"][name] for name in ARCHITECTURES}
    params["models"] = ["mnist-dense", "fashion-2blocks"]
    params["train"] |= {"epochs": 2, "batch_size": 20}
    params["architectures"]["mnist-dense"]["units"] = [8]
    params["architectures"]["fashion-2blocks"] |= {
        "filters": [2, 3],
        "dense_units": [4],
        "dropout": 0.3,
        "batch_norm": "after",
    }


def shrink_replications(params: Any) -> None:
    """Keep three experiments, one of which starts from another, and their variants."""
    params["experiments"] = {name: params["experiments"][name] for name in REPLICATIONS}
    used = {entry["variant"] for entry in params["experiments"].values()}
    params["variants"] = {
        name: params["variants"][name] for name in params["variants"] if name in used
    }
    params["weights"] = []


def small_project(folder: Path) -> Project:
    """Make the small project in a new folder, committed but not yet run, with 200 + 80 images of
    the embedded sample."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    with np.load(ROOT / "data/embedded/fashion_mnist.npz") as sample:
        few = {
            name: sample[name][: 200 if "train" in name else 80]
            for name in ("x_train", "y_train", "x_test", "y_test")
        }
        (folder / "data/embedded").mkdir()
        np.savez(
            folder / "data/embedded/fashion_mnist.npz", **few, class_names=sample["class_names"]
        )
    project = Project(folder)
    project.edit_params(shrink)
    project.edit_params(shrink_replications, "replications/params.yaml")
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit()
    return project


def add_failing_hook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make git run a hook that fails on checkout: in all repositories, and from a template in new
    ones. Both are written into `folder`."""
    hook = folder / "template/hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (folder / "gitconfig").write_text(f"[core]\n\thooksPath = {hook.parent}\n")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(folder / "template"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))


def copy(project: Project, folder: Path) -> Project:
    """A copy of a project, as it is now, in a new folder below `folder`."""
    return Project(Path(shutil.copytree(project.folder, folder / "project", symlinks=True)))
