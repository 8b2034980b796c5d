"""Make imagenet.yaml: the files of weights that ``keras.applications`` publishes, as the installed
Keras names them.

    python data/official/weights/make.py

Each network is built until Keras asks for its file; nothing is downloaded. The digests are Keras's
own; it gives none for MobileNet and MobileNetV2, and no sizes. Takes a minute and a half of
CPU time.
"""

import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[3]))

import keras
from ruamel.yaml import YAML

from stages.params.names import APPLICATIONS

ALPHAS = {
    "MobileNet": (0.25, 0.5, 0.75, 1.0),
    "MobileNetV2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
}
SIZES = {"MobileNet": (128, 160, 192, 224), "MobileNetV2": (96, 128, 160, 192, 224)}
ARGUMENTS = {
    **{name: [{"alpha": alpha} for alpha in alphas] for name, alphas in ALPHAS.items()},
    **{
        f"MobileNetV3{size}": [
            {"alpha": 0.75, "minimalistic": False},
            {"alpha": 1.0, "minimalistic": False},
            {"alpha": 1.0, "minimalistic": True},
        ]
        for size in ("Small", "Large")
    },
}
# By patterns of networks' names: what the documentation of Keras 2.2 says
# (docs/templates/applications.md in its repository), for later networks what their authors say.
LICENCES = (
    ("VGG", "CC BY 4.0, Visual Geometry Group, University of Oxford"),
    (r"ResNet\d+V2", "BSD 3-Clause, Facebook"),
    ("ResNet", "MIT, Kaiming He"),
    ("DenseNet", "BSD 3-Clause, Zhuang Liu and others"),
    ("ConvNeXt", "MIT, Meta Platforms"),
    ("Xception", "MIT, François Chollet"),
    ("", "Apache 2.0, Google"),
)
HEADER = """\
# The weights that keras.applications publishes, trained on ImageNet: a file each. `size` is that
# of the images in pixels, where there are several. Made by make.py from Keras {version}.
"""


class Asked(Exception):
    """Keras asks for a file: its name, its address, its digest (MD5 or SHA-256) or None."""


def ask(name: str, origin: str, file_hash: str | None = None, **_: Any) -> None:
    raise Asked(name, origin, file_hash)


def describe(network: str, top: bool, arguments: dict[str, Any], size: int | None) -> dict:
    """The entry of one file."""
    place = {"input_shape": (size, size, 3)} if size else {}
    try:
        with keras.StatelessScope(initialize_variables=False):  # no variable is given values
            getattr(keras.applications, network)(include_top=top, **place, **arguments)
    except Asked as asked:
        name, url, digest = asked.args
    licence = next(text for pattern, text in LICENCES if re.match(pattern, network))
    entry = {"network": network, "top": top, "arguments": {**arguments}, "size": size}
    kind = "sha256" if digest and len(digest) == 64 else "md5"
    entry |= {"name": name, "url": url, kind: digest, "licence": licence}
    return {key: value for key, value in entry.items() if value not in (None, {})}


def main() -> None:
    with mock.patch("keras.src.utils.file_utils.get_file", ask):
        files = [
            describe(network, top, arguments, size)
            for network in APPLICATIONS
            for arguments in ARGUMENTS.get(network, [{}])
            for size in SIZES.get(network, [None])
            for top in (True, False)
        ]
    yaml = YAML()
    yaml.width = 200
    with open(Path(__file__).with_name("imagenet.yaml"), "w", encoding="utf-8") as file:
        file.write(HEADER.format(version=keras.version()))
        yaml.dump({"homepage": "https://keras.io/api/applications/", "files": files}, file)


if __name__ == "__main__":
    main()
