"""Import a data set from what ``datasets.NAME.source`` in ``params.yaml`` points to: the stage
download lists the kinds of sources, `stages.sources.raw` describes the result."""

import os
from pathlib import Path
from typing import Any

from stages import params
from stages.params.schema import Download, Source
from stages.runtime import guard
from stages.runtime.errors import UserError
from stages.sources import archives, cifar, classes, layout, official, writing
from stages.sources.digests import describe_source, digest_files
from stages.sources.fetch import fetch_all
from stages.sources.idx import read_idx
from stages.sources.keras_npz import read_npz

# outside the stage's outs, which DVC deletes before the stage runs
DOWNLOADS = Path("data/downloads")


def import_dataset(dataset: str, source: Source, options: Download, raw: Path) -> dict[str, Any]:
    """Write the data set into a folder of its name in `raw`; returns the content of dataset.json,
    with the whole path of its source."""
    path = Path(source.source)
    if not path.exists():
        raise UserError(f"datasets.{dataset}.source: {path} is missing")
    listing, publisher, published = find_published(path, options) or (None, None, {})
    [only] = published.values() if len(published) == 1 else [path]
    kind = choose_kind(dataset, path, publisher)
    description = {
        "name": dataset,
        "source": source.source,
        "kind": archives.find_kind(only) if kind == "images" else kind,
        "official": str(listing) if listing else None,
        "source_digest": digest_source(published or {path.name: path}),
        "licence": publisher.licence if publisher else source.licence,
    }
    folder = raw / dataset
    if kind in ("npz", "idx", "cifar"):
        if kind == "npz":
            arrays = read_npz(only, options.limits)
        elif kind == "idx":
            arrays = read_idx(published, publisher.class_names, options.limits)
        else:
            arrays = cifar.read_cifar(only, options.limits)
        published_names = publisher and publisher.class_names
        arrays.class_names = source.class_names or published_names or arrays.class_names
        return writing.write_arrays(folder, description, arrays)
    if source.class_names:
        raise UserError(
            f"datasets.{dataset}.class_names: {path} names its classes by its folders: leave the "
            "key out"
        )
    sizes, folders = archives.survey(only, options.limits)
    cifar.refuse_pickles(sizes, only)
    images = classes.find(sizes, folders, only)
    layout.note_copies(images.copies, only)
    wanted = {images.prefix + name: size for name, size in zip(images.names, images.sizes)}
    expected = publisher.images if publisher else None
    return writing.write_encoded(
        folder, description, images, archives.read_contents(only, wanted), options, expected
    )


def choose_kind(dataset: str, path: Path, publisher: official.Publisher | None) -> str:
    """The format of the source at `path`: ``npz``, ``idx``, ``cifar``, ``images``, ``folder``,
    ``zip`` or ``tar``. Raises `UserError` if it is none of these."""
    if publisher:
        return publisher.format
    kind = "npz" if path.suffix.lower() == ".npz" and path.is_file() else archives.find_kind(path)
    if kind is None:
        raise UserError(
            f"datasets.{dataset}.source: {path} is none of: a .yaml file as in {official.FOLDER}, "
            "an .npz file, a folder, a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file"
        )
    return kind


def find_published(
    path: Path, options: Download
) -> tuple[Path, official.Publisher, dict[str, Path]] | None:
    """The publisher's listing that `path` is, or that lists the files at `path`; and the paths of
    these files, downloaded and checked. None for data that no listing knows."""
    if path.suffix in (".yaml", ".yml") and path.is_file():
        publisher = params.read_checked(path, official.Publisher)
        folder = DOWNLOADS / path.stem
        with guard.exclusive(folder / "download.lock", f"the download of {path.stem}"):
            return path, publisher, fetch_all(publisher, folder, options)
    if (known := official.recognise(path)) is None:
        return None
    listing, publisher, paths = known
    for file in publisher.files:
        if fault := official.find_fault(paths[file.name], file, options.limits):
            raise UserError(
                f"{paths[file.name]} has the name of a file of {listing.stem} and is not the "
                f"published one: {fault}. Download it again from {file.url}, or rename it to use "
                "it as data of your own"
            )
    return listing, publisher, paths


def digest_source(paths: dict[str, Path]) -> str:
    """SHA-256 of the source's single file; of several, or of a folder, that of the list which
    ``sha256sum`` prints."""
    if len(paths) == 1:
        return describe_source(*paths.values())["sha256"]
    return digest_files({os.fsencode(name): path for name, path in paths.items()}, "digest")


def import_and_report(dataset: str, raw: Path) -> dict[str, Any]:
    """Import the data set that ``params.yaml`` describes, and print its size; returns what
    `import_dataset` does."""
    options = params.load()
    source = params.choose(dataset, options.datasets, "datasets")
    description = import_dataset(dataset, source, options.download, raw)
    print("{name}: {train:,} training and {test:,} test images".format(**description), end="")
    if "validation" in description:
        print(f", {description['validation']:,} validation images", end="")
    print(f", {len(description['skipped']):,} files skipped" if description["skipped"] else "")
    return description
