"""The pictures of a data set, by matplotlib: its classes, their mean images, the balance of the
parts, what augmentation does."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from stages.drawing.charts import COLOURS, DPI, DRAWN, STYLE
from stages.images.pillow import to_pillow

WIDTH = 1000  # pixels, of each picture
GAP, WIDE = 5, 20  # pixels, between images, and between strips of them
# pixels, of a line with a class's name, of one more, and of the title
NAME_HEIGHT, LINE_HEIGHT, TITLE_HEIGHT = 30, 15, 45
LETTERS = 28  # of a name
FEW = 12  # classes that have a line of their own; more of them share lines


def draw_samples(images: list[np.ndarray], names: list[str], of: int = 0) -> Figure:
    """A strip of images for each class, under its name. `images` has an array for each class, uint8
    (images, height, width, channels), with at least one image between them. `of` says how many
    classes there are, where these are the first of more."""
    columns, count = (2, 8) if len(names) <= FEW else (4, 4)
    return draw_strips(
        [some[:count] for some in images],
        names,
        columns,
        count,
        "Training images of " + name_shown(names, of),
    )


def draw_means(images: np.ndarray, names: list[str], of: int = 0) -> Figure:
    """The mean image of each class; `images` uint8 (classes, height, width, channels); `of` as
    above."""
    columns = min(len(names), 5 if len(names) <= FEW else 10)
    title = "The mean training image of " + name_shown(names, of)
    return draw_strips(images[:, np.newaxis], names, columns, 1, title)


def name_shown(names: list[str], of: int) -> str:
    """Which classes a picture shows, for its title."""
    return "each class" if of <= len(names) else f"the first {len(names):,} of {of:,} classes"


def draw_augmentation(images: np.ndarray, changed: np.ndarray, names: list[str]) -> Figure:
    """What augmentation does: uint8 `images` (images, height, width, channels), each followed by
    versions of it, `changed` (images, versions, height, width, channels), under the names of their
    classes."""
    rows = [
        np.concatenate([image[np.newaxis], versions]) for image, versions in zip(images, changed)
    ]
    return draw_strips(
        rows,
        names,
        1,
        len(rows[0]),
        "Training images: as they are (left), and as augmentation changes them",
    )


def draw_strips(
    rows: list[np.ndarray], names: list[str], columns: int, count: int, title: str
) -> Figure:
    """Strips of up to `count` images with a name above each, which may have several lines, in
    `columns`, filled line by line: one image of the figure's size."""
    gap = WIDE if columns > 1 and count > 1 else GAP  # between strips
    strip = (WIDTH + gap) // columns - gap
    width = (strip + GAP) // count - GAP
    lines = [line for name in names for line in name.split("\n")]
    name_height = NAME_HEIGHT + max(name.count("\n") for name in names) * LINE_HEIGHT
    height = max(1, round(width * rows[0].shape[1] / rows[0].shape[2]))
    canvas = np.full(
        (
            TITLE_HEIGHT + -(-len(rows) // columns) * (name_height + height) + GAP,
            WIDTH + 2 * GAP,
            3,
        ),
        255,
        np.uint8,
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(canvas.shape[1] / DPI, canvas.shape[0] / DPI))
        # points: the longest name fits its strip, but for one that would make all too small to read
        size = max(6.0, min(9.0, 1.55 * 72 / DPI * strip / max(map(len, lines))))
        for place, (images, name) in enumerate(zip(rows, names)):
            left, top = (
                GAP + place % columns * (strip + gap),
                TITLE_HEIGHT + place // columns * (name_height + height),
            )
            write_text(figure, left, top + name_height - 0.18 * NAME_HEIGHT, name, size)
            for number, image in enumerate(images):
                x, y = left + number * (width + GAP), top + name_height
                canvas[y : y + height, x : x + width] = scale(image, width, height)
        write_text(figure, GAP, 0.6 * TITLE_HEIGHT, title, 12)
        figure.figimage(canvas, zorder=-1)
    return figure


def shorten(name: str, letters: int = LETTERS) -> str:
    """A name; of a long one, the end, so many `letters` with the sign of it."""
    return name if len(name) <= letters else f"…{name[1 - letters :]}"


def write_text(figure: Figure, x: float, y: float, text: str, size: float) -> None:
    """Write `text` in `size` points at a place in pixels from the left and the top."""
    width, height = (side * DPI for side in figure.get_size_inches())
    figure.text(x / width, 1 - y / height, text, fontsize=size, parse_math=False)


def scale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A uint8 image (any height, any width, 1 or 3), as uint8 (height, width, 3); pixels stay
    visible where it is much enlarged."""
    picture = to_pillow(image).convert("RGB")
    method = Image.Resampling.NEAREST if 2 * picture.width <= width else Image.Resampling.LANCZOS
    return np.asarray(picture.resize((width, height), method))


def draw_class_balance(counts: dict[str, dict[str, int]]) -> Figure:
    """The images of each class in each part, a panel a part; `counts` of each part and class. Of
    more than `DRAWN` classes, the first."""
    all_names = list(next(iter(counts.values())))
    names = all_names[:DRAWN]
    few = len(names) <= 2 * FEW
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH / DPI, 1.2 + (0.26 if few else 0.13) * len(names)), layout="constrained"
        )
        panels = figure.subplots(1, len(counts), sharey=True)
        for axes, colour, (part, classes) in zip(panels, COLOURS, counts.items()):
            bars = axes.barh(range(len(names)), [classes[name] for name in names], color=colour)
            axes.set(title=f"{part}: {sum(classes.values()):,} images", xlabel="images")
            axes.grid(False, axis="y")
            axes.margins(y=0.01)
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
            if few:
                axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
                axes.margins(x=0.16)
        labels = [shorten(name) for name in names]
        panels[0].set_yticks(range(len(names)), labels, fontsize=9 if few else 7, parse_math=False)
        panels[0].invert_yaxis()
        figure.suptitle("Images of " + name_shown(names, len(all_names)))
    return figure
