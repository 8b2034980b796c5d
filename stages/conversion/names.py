"""Names of files in an exported folder."""

INT8 = "model.int8.onnx"  # the network in 8-bit integers
DIGESTS = "SHA256SUMS"  # of the other files, as `sha256sum --check` reads it
