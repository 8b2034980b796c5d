"""The stages of the pipeline, one module per stage, and the packages that they share.

DVC starts a stage as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml`` declares
what it reads and writes.
"""

import os

# before NumPy is imported: no matrix here is large enough for a second thread of OpenBLAS, and with
# little memory its threads wait for each other for minutes. TensorFlow has its own threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
