"""Pictures of a data set, by matplotlib: samples of its classes, their mean images, class balance,
and the effect of augmentation."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from PIL import Image

from stages.drawing.style import COLOURS, DPI, DRAWN, STYLE
from stages.images.pillow import to_pillow

# in pixels
WIDTH = 1000  # of each picture
GAP, STRIP_GAP = 5, 20  # between images, and between strips side by side
NAME_HEIGHT, LINE_HEIGHT, TITLE_HEIGHT = 30, 15, 45  # of a name, each further line, and the title

LETTERS = 28  # maximum length of a name beside a bar
SMALLEST = 6.0  # points, of a name above its strip
FEW = 12  # classes: more are drawn smaller, with more of them side by side


def draw_samples(images: list[np.ndarray], names: list[str], of: int) -> Figure:
    """A strip of images for each class, under its name. `images` has an array for each class, uint8
    (images, height, width, channels), and at least one image in total. `of` is the number of all
    classes, if these are only the first."""
    columns, count = (2, 8) if len(names) <= FEW else (4, 4)
    return draw_strips(
        [array[:count] for array in images],
        names,
        columns,
        count,
        "Training images of " + describe_classes(names, of),
    )


def draw_means(images: np.ndarray, names: list[str], of: int) -> Figure:
    """The mean image of each class; `images` is uint8 (classes, height, width, channels), `of` as
    in `draw_samples`."""
    columns = min(len(names), 5 if len(names) <= FEW else 10)
    title = "The mean training image of " + describe_classes(names, of)
    return draw_strips(images[:, np.newaxis], names, columns, 1, title)


def describe_classes(names: list[str], of: int) -> str:
    """The classes that a picture shows, for its title: each, or the first of so many."""
    return "each class" if of <= len(names) else f"the first {len(names):,} of {of:,} classes"


def draw_augmentation(images: np.ndarray, changed: np.ndarray, names: list[str]) -> Figure:
    """The effect of augmentation: each image, uint8 (images, height, width, channels), followed by
    its augmented versions, `changed` (images, versions, height, width, channels), under the name of
    its class."""
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
    """Strips of up to `count` images each, arranged in `columns` row by row, with a name of one or
    more lines above each. The images form a single one of the figure's size."""
    gap = STRIP_GAP if columns > 1 and count > 1 else GAP  # between strips
    strip = (WIDTH + gap) // columns - gap
    width = (strip + GAP) // count - GAP
    name_height = NAME_HEIGHT + max(name.count("\n") for name in names) * LINE_HEIGHT
    # images that are very high are drawn less high, so that the figure's size is bounded
    height = min(max(1, round(width * rows[0].shape[1] / rows[0].shape[2])), WIDTH)
    total = TITLE_HEIGHT + math.ceil(len(rows) / columns) * (name_height + height) + GAP
    canvas = np.full((total, WIDTH + 2 * GAP, 3), 255, np.uint8)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(canvas.shape[1] / DPI, canvas.shape[0] / DPI))
        names, size = fit_names(names, 72 / DPI * strip)
        for place, (images, name) in enumerate(zip(rows, names)):
            row, column = divmod(place, columns)
            left, top = GAP + column * (strip + gap), TITLE_HEIGHT + row * (name_height + height)
            write_text(figure, left, top + name_height - 0.18 * NAME_HEIGHT, name, size)
            for number, image in enumerate(images):
                x, y = left + number * (width + GAP), top + name_height
                canvas[y : y + height, x : x + width] = scale(image, width, height)
        write_text(figure, GAP, 0.6 * TITLE_HEIGHT, title, 12)
        figure.figimage(canvas, zorder=-1)
    return figure


def fit_names(names: list[str], width: float) -> tuple[list[str], float]:
    """The names, and their size in points, at which each line is at most `width` points wide. The
    longest line sets the size, but must not make all illegible: then lines are shortened."""
    lines = [line for name in names for line in name.split("\n")]
    size = max(SMALLEST, min(9.0, 1.55 * width / max(map(len, lines))))
    return [
        "\n".join(shorten_to_fit(line, width, size) for line in name.split("\n")) for name in names
    ], size


def shorten(name: str, letters: int = LETTERS) -> str:
    """`name`, or if it is longer than `letters`, an ellipsis and its end."""
    return name if len(name) <= letters else f"…{name[1 - letters :]}"


def shorten_to_fit(name: str, width: float, size: float) -> str:
    """`name`, shortened if in `size` points it is wider than `width` points."""
    font, shown = FontProperties(size=size), name
    for letters in range(len(name) - 1, 3, -1):
        if text_to_path.get_text_width_height_descent(shown, font, False)[0] <= width:
            break
        shown = shorten(name, letters)
    return shown


def write_text(figure: Figure, x: float, y: float, text: str, size: float) -> None:
    """Write `text` in `size` points at `x`, `y`, in pixels from the left and the top."""
    width, height = (side * DPI for side in figure.get_size_inches())
    figure.text(x / width, 1 - y / height, text, fontsize=size, parse_math=False)


def scale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image, uint8 (any height, any width, 1 or 3 channels), to uint8 (height, width, 3);
    enlarged at least twofold, pixels remain visible."""
    picture = to_pillow(image).convert("RGB")
    method = Image.Resampling.NEAREST if 2 * picture.width <= width else Image.Resampling.LANCZOS
    return np.asarray(picture.resize((width, height), method))


def draw_class_balance(counts: dict[str, dict[str, int]]) -> Figure:
    """The number of images of each class, with a panel per part; `counts` by part and class. Shows
    only the first `DRAWN` classes."""
    all_names = list(next(iter(counts.values())))
    names = all_names[:DRAWN]
    few = len(names) <= 2 * FEW
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH / DPI, 1.2 + (0.26 if few else 0.13) * len(names)), layout="constrained"
        )
        panels = figure.subplots(1, len(counts), sharex=True, sharey=True)
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
        figure.suptitle("Images of " + describe_classes(names, len(all_names)))
    return figure
