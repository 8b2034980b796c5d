"""The networks that ``commands.photographs`` offers."""

from dataclasses import dataclass

BATCH = 32  # images a step


@dataclass(frozen=True)
class Preset:
    """An architecture of params.yaml, and what suits it; the accuracy on 4,317 photographs of five
    flowers is in docs/photographs.md."""

    architecture: str
    image_size: int  # pixels


PRESETS = {
    "small": Preset("pretrained-small", 160),
    "medium": Preset("pretrained-medium", 192),
    "accurate": Preset("pretrained-accurate", 224),
}
