"""Tell images by their file names, in a folder or an archive: one rule for download, training and
prediction."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".heic", ".heif")
# of images that `decode` does not read: they are reported, not ignored
UNREAD = (".avif", ".tif", ".tiff")
# what Windows, and macOS in archives, leave beside images
LITTER = ("__macosx", "thumbs.db", "desktop.ini")
# suffixes of what phones and programs leave beside a photograph: film, edits, description
SIDECARS = (".aae", ".json", ".mov", ".mp4", ".xmp")


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder (whose name ends in a slash), was not put there as data. `name`
    is relative to the source; it is hidden if a part of it begins with a dot or is in `LITTER`, or
    if it is a file with a suffix in `SIDECARS`."""
    parts = name.lower().split("/")
    return parts[-1].endswith(SIDECARS) or any(
        (part.startswith(".") and part != "..") or part in LITTER for part in parts
    )


def is_image_file(name: str) -> bool:
    """Whether a file counts as an image: by its suffix, and not hidden. `name` is relative to the
    source, with ``/``."""
    return name.lower().endswith(SUFFIXES + UNREAD) and not is_hidden(name)
