"""Which files of a folder or archive are images, by their names: the one rule of download, training
and prediction."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".heic", ".heif")
# of images that `decode` does not read: they are named and not passed over
UNREAD = (".avif", ".tif", ".tiff")
# what systems leave beside images: Windows, and macOS in an archive
LITTER = ("__macosx", "thumbs.db", "desktop.ini")
# of what phones and programs leave beside a photograph: its film, its edits, its description
SIDECARS = (".aae", ".json", ".mov", ".mp4", ".xmp")


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder with a slash behind it, named relative to the folder that was
    given, is one that nobody put there as data: its name, or that of a folder in it, begins with a
    dot or is in `LITTER`; or it is a file that ends as in `SIDECARS`."""
    parts = name.lower().split("/")
    return parts[-1].endswith(SIDECARS) or any(
        part.startswith(".") or part in LITTER for part in parts
    )


def is_image_file(name: str) -> bool:
    """Whether a file found in a folder, named relative to it with ``/``, is taken for an image: by
    its suffix, and not hidden."""
    return name.lower().endswith(SUFFIXES + UNREAD) and not is_hidden(name)
