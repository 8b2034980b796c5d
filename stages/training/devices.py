"""What a result may depend on beyond the project's settings: backend, devices, instruction set and
XLA's flags. Call `backend.start` first."""

import os

from stages.runtime import processor
from stages.runtime.errors import UserError


def describe_platform() -> dict[str, str | list[str]]:
    """What the project leaves to the user and a result may depend on."""
    import keras

    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "backend": keras.config.backend(),
        "devices": list_devices(),
        "instruction_set": processor.find_instruction_set(),
        **({"xla_flags": sorted(flags)} if flags else {}),
    }


def name_backend_and_devices() -> str:
    """The backend and the kinds of device, such as ``tensorflow on cpu``, without what differs
    between machines of the same kind."""
    platform = describe_platform()
    kinds = sorted({device.partition(":")[0] for device in platform["devices"]})
    return f"{platform['backend']} on {' and '.join(kinds)}"


def list_devices() -> list[str]:
    """The devices that Keras computes on, such as ``cpu:0``; on PyTorch, which Keras cannot list
    devices for, the one on which a tensor is placed."""
    import keras

    if keras.config.backend() != "torch":
        return keras.distribution.list_devices()
    device = keras.ops.convert_to_tensor(0).device
    return [f"{'gpu' if device.type == 'cuda' else device.type}:{device.index or 0}"]


def require_precision(precision: str) -> None:
    """Raise `UserError` if `precision` is mixed_bfloat16 and TensorFlow computes on a processor
    without AVX-512: oneDNN has no kernels for bfloat16 there, and ends the process."""
    if (
        precision == "mixed_bfloat16"
        and processor.find_instruction_set() == "avx2"
        and name_backend_and_devices() == "tensorflow on cpu"
    ):
        raise UserError(
            "train.precision is mixed_bfloat16, which needs a processor with AVX-512: this one has "
            "only avx2. Choose float32 or mixed_float16"
        )
