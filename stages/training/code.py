"""Digests of the code of a training: `dvc.yaml` makes them its dependencies, and only the code that
wrote a checkpoint resumes from it.

They cover the modules that a stage imports, directly or not, except those that cannot change a
result, and ignore comments, docstrings, blank lines and trailing white space. They are the same
under Python 3.11, 3.12 and 3.13.
"""

import ast
import hashlib
import io
import json
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAIN, REPLICATION = Path("stages/train.py"), Path("stages/replications/train.py")
# they refuse, report or share out work; nor can modules that only they import change a result
CANNOT_CHANGE_A_RESULT = (
    "stages/params",
    *(
        f"stages/runtime/{name}.py"
        for name in (
            "cli",
            "edited",
            "errors",
            "experiments",
            "git",
            "guard",
            "inputs",
            "processor",
            "progress",
            "refusals",
            "text",
            "threads",
        )
    ),
    "stages/training/code.py",
    "stages/training/notes.py",
    "stages/training/time_left.py",
    "stages/training/record.py",
    "stages/training/tensorboard.py",
)


def fingerprint(family: str, root: Path = ROOT) -> dict[str, str]:
    """The digests of the code that trains a network of `family`: ``training``, which all families
    share, and ``family``, its own module with further imports."""
    shared = find_modules(TRAIN, root)
    own = find_modules(Path("stages/architectures") / f"{family}.py", root)
    return {"training": digest(shared, root), "family": digest(own - shared, root)}


def fingerprint_replications(root: Path = ROOT) -> dict[str, str]:
    """The digest of the replications' training code beyond that of the root pipeline."""
    own = find_modules(REPLICATION, root) - find_modules(TRAIN, root)
    return {"replications": digest(own, root)}


def find_modules(module: Path, root: Path = ROOT) -> set[Path]:
    """The modules that can change what `module` computes: itself, and those of this project that it
    imports, directly or not. Paths are relative to `root`."""
    return {
        path for path in find_imports(module, root) | {module} if not cannot_change_a_result(path)
    }


def cannot_change_a_result(module: Path) -> bool:
    """Whether `module`, a path relative to the project, only refuses or reports."""
    return any(module.is_relative_to(place) for place in CANNOT_CHANGE_A_RESULT)


def find_imports(module: Path, root: Path = ROOT, seen: set[Path] | None = None) -> set[Path]:
    """The files of the package `stages` that `module` imports, directly or not; imports of modules
    that cannot change a result are not followed."""
    seen = set() if seen is None else seen
    names = set()
    for node in ast.walk(ast.parse((root / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in names:
        if name.split(".")[0] != "stages":
            continue
        base = Path(*name.split("."))
        packages = [parent / "__init__.py" for parent in base.parents if parent.parts]
        for file in (base.with_suffix(".py"), base / "__init__.py", *packages):
            if file not in seen and (root / file).exists():
                seen.add(file)
                if not cannot_change_a_result(file):
                    find_imports(file, root, seen)
    return seen


def digest(modules: Iterable[Path], root: Path = ROOT) -> str:
    """The SHA-256 digest of the paths and code of `modules`, ignoring those without code."""
    code = {
        path.as_posix(): strip((root / path).read_text(encoding="utf-8"))
        for path in sorted(modules)
    }
    code = {path: text for path, text in code.items() if text}
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def strip(source: str) -> str:
    """`source` without comments, docstrings, blank lines and trailing white space. Other strings
    are left unchanged."""
    # not `ast.dump` or `ast.unparse`: their output differs between versions of Python
    lines = [f"{line}\n" for line in source.split("\n")]
    docstrings = find_docstrings(source, lines)
    inside = set()  # lines that end inside a string
    cuts = []
    opened = []  # the starts of f-strings, which Python 3.12 and later tokenize in parts
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            cuts.append((token.start, token.end))
        elif kind.endswith("STRING_START"):
            opened.append(token.start)
        elif kind == "STRING" or kind.endswith("STRING_END"):
            start = token.start if kind == "STRING" else opened.pop()
            if not any(begin <= start < end for begin, end in docstrings):
                inside.update(range(start[0], token.end[0]))
    for (first, begin), (last, end) in sorted(cuts + docstrings, reverse=True):
        rest = lines[last - 1][end:]
        lines[first - 1] = lines[first - 1][:begin] + rest
        for number in range(first, last):
            lines[number] = ""
    kept = []
    for number, line in enumerate(lines, start=1):
        if number in inside:
            kept.append(line)
        elif line.strip():
            kept.append(line.rstrip() + "\n")
    return "".join(kept)


def find_docstrings(source: str, lines: list[str]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The start and end of each docstring: (line, counted from 1; character, from 0)."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            ends = (
                (docstring.lineno, docstring.col_offset),
                (docstring.end_lineno, docstring.end_col_offset),
            )
            spans.append(  # `ast` counts columns in UTF-8 bytes
                tuple((row, len(lines[row - 1].encode()[:byte].decode())) for row, byte in ends)
            )
    return spans


def list_versions() -> list[str]:
    """The backend, and the versions of Keras, the backend and NumPy; imports Keras."""
    import keras

    backend = keras.config.backend()
    return [backend, *(sys.modules[name].__version__ for name in ("keras", backend, "numpy"))]
