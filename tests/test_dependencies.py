"""dvc.yaml names what each stage is made of: every module of ours that it
imports, directly or not."""

import ast
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

CANNOT_CHANGE_A_RESULT = {
    "stages/__init__.py",
    *(f"stages/runtime/{name}.py" for name in ("cli", "errors", "guard")),
    "stages/params",
}


def cannot_change_a_result(file: Path) -> bool:
    name = file.relative_to(ROOT).as_posix()
    return any(name == place or name.startswith(f"{place}/") for place in CANNOT_CHANGE_A_RESULT)


def imported(module: Path, seen: set[Path]) -> set[Path]:
    """The files of the package `stages` that `module` imports, with those that they import."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
            for name in names:
                base = ROOT / name.replace(".", "/")
                for file in (base.with_suffix(".py"), base / "__init__.py"):
                    if file.exists() and file not in seen:
                        seen.add(file)
                        if not cannot_change_a_result(file):
                            imported(file, seen)
    return seen


def stages() -> dict[str, list[str]]:
    found = {}
    for file in ("dvc.yaml", "data/dvc.yaml", "replications/dvc.yaml"):
        for stage in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"].values():
            stage = stage.get("do", stage)
            module = (
                stage["cmd"].split()[2].replace(".", "/") + ".py"
            )  # of "python -m stages.NAME …"
            found[module] = stage.get("deps", [])
    return found


@pytest.mark.parametrize(
    ("stage", "dependencies"),
    stages().items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_stage_depends_on_the_modules_that_it_imports(stage: str, dependencies: list[str]):
    module = ROOT / stage
    files = {file.relative_to(ROOT).as_posix() for file in imported(module, {module})}
    needed = {file for file in files if not cannot_change_a_result(ROOT / file)}
    covered = {
        file
        for file in needed
        if any(file == place or file.startswith(f"{place}/") for place in dependencies)
    }
    assert {file for file in needed - covered if not only_a_docstring(ROOT / file)} == set()


def only_a_docstring(module: Path) -> bool:
    return len(ast.parse(module.read_text(encoding="utf-8")).body) == 1
