"""The files and folders of a folder, zip or tar with images: what wraps them, which are parts of
the data set, and which are copies of others. `stages.sources.classes` says what is expected."""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from stages.runtime.errors import UserError
from stages.runtime.text import join_names, printable

# the parts in the order of their images, with the lower-case names of their folders
PARTS = {
    "train": {"train", "training"},
    "validation": {"val", "valid", "validation"},
    "test": {"test", "testing"},
}


@dataclass
class Layout:
    """What a source holds, by names relative to the wrapping folder."""

    path: Path  # the source
    prefix: str  # the wrapping folder and a slash; empty if there is none
    files: dict[str, int]  # with their sizes in bytes
    folders: set[str]
    stray: list[str]  # names of files beside the wrapping folder
    copies: list[str] = field(default_factory=list)  # folders left out: they repeat what lies here

    parts: dict[str, str] = field(default_factory=dict)  # top-level folders, such as Train

    @property
    def depth(self) -> int:
        """The number of slashes in a class folder's name."""
        return 1 if self.parts else 0

    def locate(self, name: str) -> str:
        """The name of a file or folder in the source, for messages."""
        return printable(self.prefix + name)


def find_layout(files: dict[str, int], folders: set[str], path: Path) -> Layout:
    """The layout of the source at `path`, without copies, from its files with their sizes and its
    folders. Raises `UserError` if its parts are not as `stages.sources.classes` says."""
    prefix = find_wrapping(folders)
    layout = Layout(
        path,
        prefix,
        {name[len(prefix) :]: size for name, size in files.items() if name.startswith(prefix)},
        {name[len(prefix) :] for name in folders if name.startswith(prefix)},
        [name for name in files if not name.startswith(prefix)],
    )
    drop_copies(layout)
    layout.parts = find_parts(layout.folders)
    check_parts(layout)
    return layout


def find_wrapping(folders: set[str]) -> str:
    """The folder around all others, with a slash; empty if there is none."""
    tops = list_top_folders(folders)
    wraps = len(tops) == 1 and list_parents(folders) and not find_parts(folders)
    return tops[0] + "/" if wraps else ""


def find_parts(folders: set[str]) -> dict[str, str]:
    """The top-level folders that are parts, each with its part. One without folders in it is a
    class of that name."""
    return {top: part for top in list_parents(folders) if (part := find_part(top))}


def find_part(folder: str) -> str | None:
    """The part that a folder is by its name; None if it is not named after one."""
    return next((part for part, names in PARTS.items() if folder.lower() in names), None)


def list_top_folders(folders: set[str]) -> list[str]:
    """The folders that are in no other."""
    return sorted(name for name in folders if "/" not in name)


def list_parents(folders: set[str]) -> list[str]:
    """The top-level folders that hold folders."""
    return sorted({name.partition("/")[0] for name in folders if "/" in name})


def drop_copies(layout: Layout) -> None:
    """Leave out the top-level folders that repeat what lies beside them, but never a part."""
    files, inside = layout.files, defaultdict(list)
    for name in files:
        inside[name.partition("/")[0]].append(name)
    for top in list_parents(layout.folders):
        # each file also exists outside the folder, with the same size
        is_copy = bool(inside[top]) and all(
            files.get(name.removeprefix(f"{top}/")) == files[name] for name in inside[top]
        )
        if is_copy and not find_part(top):
            layout.copies.append(f"{layout.prefix}{top}/")
            for name in inside[top]:
                del files[name]
            layout.folders = {
                name for name in layout.folders if not f"{name}/".startswith(f"{top}/")
            }


def check_parts(layout: Layout) -> None:
    """Raise `UserError` if there are other folders beside the parts, if two of these are the same
    part, or if the training set is missing."""
    parts = layout.parts
    if not parts:
        return
    first = layout.locate(next(iter(parts)))
    for top in list_top_folders(layout.folders):
        if find_part(top) and top not in parts:
            raise UserError(
                f"{layout.path}: {layout.locate(top)}/ holds no class folders: put each image into "
                "the folder of its class"
            )
        if top not in parts:
            raise UserError(
                f"{layout.path}: {layout.locate(top)}/ lies beside {first}/: only train/, val/ and "
                "test/ may be there, with the class folders inside them"
            )
    for part in PARTS:
        if len(same := [layout.locate(top) for top in parts if parts[top] == part]) > 1:
            raise UserError(
                f"{layout.path}: {same[0]}/ and {same[1]}/ are both the {part} set: merge them"
            )
    if "train" not in parts.values():
        raise UserError(f"{layout.path} holds {first}/ and no train/")


def note_copies(copies: list[str], path: Path) -> None:
    """Print the folders of the source at `path` that are left out as copies."""
    if copies:
        print(
            f"note: {path}: left out, since the same files lie beside it: {quote_names(copies)}",
            file=sys.stderr,
        )


def quote_names(names: list[str]) -> str:
    """The names of a list for a message, as `join_names` does, each in quotes."""
    return join_names(f"'{printable(name)}'" for name in names) or "nothing"
