"""The stages of the pipeline, one module per stage, and the packages that they share.

DVC starts a stage as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml`` declares
what it reads and writes.
"""

import os

# numpy reads these when it is imported, which comes after this. Its linear algebra (OpenBLAS) and
# its own loops would otherwise take other kernels on another processor, and so other bits. Haswell
# names what every x86-64 processor since 2013 can do; other processors do not heed it.
for name in [*os.environ]:
    if name.startswith(("OPENBLAS_", "GOTO_", "NPY_")):
        del os.environ[name]
# One thread: no matrix here is large enough for a second one, and with little memory the threads of
# OpenBLAS wait for each other for minutes. TensorFlow has its own.
os.environ |= {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
