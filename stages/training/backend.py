"""Starting Keras in an environment that is the project's own: whatever can change a result is set
here, and what the user's configuration says of it is not heeded.

What stays free is the backend, the device it computes on, what XLA is told of compiling, and the
processor's instruction set: `describe_platform` names them, for the run record and the checkpoint.
"""

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
import tempfile

from stages.runtime import processor
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

BACKENDS = ("tensorflow", "jax", "torch")
# what the names of the variables begin with that the backends read, and the libraries below them
LIBRARIES = (
    "AUTOGRAPH_",
    "CUBLAS_",
    "CUDNN_",
    "DNNL_",
    "GOMP_",
    "JAX_",
    "KERAS_",
    "KMP_",
    "MKL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "PYTORCH_",
    "TF_",
    "TORCH_",
    "XLA_",
)
# of these, what chooses the backend, the device, how XLA compiles for it, where its memory comes
# from, and where a log goes
FREE = (
    "JAX_PLATFORMS",
    "KERAS_BACKEND",
    "KERAS_TORCH_DEVICE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_",
)
# the widest kernels of oneDNN's that `train.instruction_set` allows: none that one vendor alone
# has, such as AMX
KERNELS = {"avx512": "AVX512_CORE_BF16", "avx2": "AVX2"}
# how many of TensorFlow's operations may run side by side, such as a convolution's two gradients:
# they share the threads, and each computes as it would alone
OPERATIONS_AT_A_TIME = 2
# glibc, malloc.h: parameters of mallopt and what they are set to
MALLOC = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 64 << 20)}


def start(threads: int, instruction_set: str = "avx512") -> None:
    """Import Keras and its backend, which read these settings when they are imported.

    `instruction_set` is the widest that TensorFlow's kernels use: a key of `KERNELS`. On a
    processor that lacks it they use what there is, and a note on standard error says so.

    ``KERAS_BACKEND`` chooses the backend: tensorflow (the default), jax or torch. Where the
    environment says otherwise than these settings, a note on standard error says that it is not
    heeded. Raises `UserError` for another backend, or one that is not installed.
    """
    backend = choose_backend()
    settings = {
        "KERAS_BACKEND": backend,
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(min(threads, OPERATIONS_AT_A_TIME)),
        "OMP_NUM_THREADS": str(threads),
        "TF_DETERMINISTIC_OPS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "ONEDNN_MAX_CPU_ISA": KERNELS[instruction_set],
        "TF_CPP_MIN_LOG_LEVEL": "3",  # nothing: its errors come as exceptions too
    }
    settle(settings)
    if not processor.has(found := processor.find_instruction_set(), instruction_set):
        print(
            f"note: train.instruction_set is {instruction_set}, and this processor has {found}: "
            "results will have other bits than where it has it",
            file=sys.stderr,
        )
    # Linux: as a batch job the threads stay on cores of their own. Measured on two cores of an AMD
    # EPYC, Linux 6.18, 8 epochs of fashion-2blocks, in turn: 24 and 23 s of training against 36 and
    # 35 s, with the same bits.
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    keep_freed_memory()
    with (
        held_back_messages(),
        own_keras_home(),
        left_out("matplotlib", "sklearn"),
        without_garbage_collection(),
    ):
        import keras

        if backend == "tensorflow":
            from stages.training import arithmetic

            arithmetic.use()
        else:  # TensorFlow too, where it is installed, which says much when it is imported: here
            keras.utils.set_random_seed(0)
    if backend != "tensorflow":
        require_device()


def choose_backend() -> str:
    """The backend that ``KERAS_BACKEND`` names, or TensorFlow."""
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={backend}: it must be one of {', '.join(BACKENDS)}")
    if not importlib.util.find_spec(backend):
        raise UserError(f"KERAS_BACKEND={backend}: {backend} is not installed in {sys.prefix}")
    return backend


def require_device() -> None:
    """Raise `UserError` where the backend cannot compute on the device that it is told to."""
    import keras

    try:
        keras.random.uniform((1,), seed=1)
    except Exception as error:  # each backend has its own
        chosen = {
            name: os.environ[name]
            for name in ("JAX_PLATFORMS", "KERAS_TORCH_DEVICE")
            if name in os.environ
        }
        told = "".join(f", {name}={value}" for name, value in chosen.items())
        why = f": {first_line(error)}" if str(error).strip() else ""
        raise UserError(
            f"KERAS_BACKEND={keras.config.backend()}{told}: it cannot compute here{why}.\n"
            f"       Choose another device, or install it for this one"
        ) from None


def settle(settings: dict[str, str]) -> None:
    """Make `settings` all that the environment says to the `LIBRARIES`, beside what is `FREE`."""
    not_heeded = []
    for name, value in sorted(os.environ.items()):
        if name.startswith(LIBRARIES) and not name.startswith(FREE):
            del os.environ[name]
            # others that begin with TF_ may be Terraform's, and thread counts other programs'
            if name in settings and value != settings[name] and not name.endswith("_THREADS"):
                not_heeded.append(f"{name}={value}")
    os.environ |= settings
    if not_heeded:
        print(
            f"note: not heeded, since results could depend on it: {' '.join(not_heeded)}",
            file=sys.stderr,
        )


def keep_freed_memory() -> None:
    """Have the C library keep what a training step frees for the next one, where it is glibc.

    It would give large blocks back to the system, which fills each with zeros, page by page, when
    it is asked for again: measured on cifar100-simple-cnn, 20,000 pages a step, a tenth of the
    time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows
        for parameter, value in MALLOC.values():
            ctypes.CDLL(None).mallopt(parameter, value)


@contextlib.contextmanager
def held_back_messages():
    """Show standard error only after an exception: some of TensorFlow's messages heed no level."""
    with (  # on Linux without a temporary folder, which a machine that only predicts may lack
        os.fdopen(os.memfd_create("messages"), "w+b")
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile()
    ) as held_back:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def own_keras_home():
    """Keep the user's ``keras.json`` away from Keras, which reads it when it is imported, and
    writes one where there is none: in this place it can do neither."""
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]


@contextlib.contextmanager
def left_out(*packages: str):
    """Keep Keras from importing `packages`, which it can do without: it looks for these for its
    galleries of images and its wrappers, which nobody uses here, and they would take a third of the
    time in which it starts."""
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # to import what is None there is an ImportError
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def without_garbage_collection():
    """Keep Python's collector away from what is imported, which lives until the process ends: to
    search it for garbage takes a fifth of the time in which Keras starts."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # out of later searches too
        if enabled:
            gc.enable()


def describe_platform() -> dict[str, str | list[str]]:
    """What a result may depend on that the project leaves free; needs `start`."""
    import keras

    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "backend": keras.config.backend(),
        "devices": list_devices(),
        "instruction_set": processor.find_instruction_set(),
        **({"xla_flags": sorted(flags)} if flags else {}),
    }


def name_machine() -> str:
    """The backend and the kind of device, such as ``tensorflow on cpu``: what figures may depend
    on, without what differs between machines of a kind."""
    platform = describe_platform()
    kinds = sorted({device.partition(":")[0] for device in platform["devices"]})
    return f"{platform['backend']} on {' and '.join(kinds)}"


def list_devices() -> list[str]:
    """What Keras computes on, such as ``cpu:0``; of PyTorch, for which it has no list, the device
    where it places a tensor."""
    import keras

    if keras.config.backend() != "torch":
        return keras.distribution.list_devices()
    device = keras.ops.convert_to_tensor(0).device
    return [f"{'gpu' if device.type == 'cuda' else device.type}:{device.index or 0}"]
