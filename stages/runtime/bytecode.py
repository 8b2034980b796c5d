"""The bytecode that Python keeps in ``__pycache__``."""

import marshal
import sys
from pathlib import Path

HEADER = 16  # bytes before the code: https://peps.python.org/pep-0552/


def remove_truncated() -> None:
    """Remove the bytecode of loaded modules that a full disk cut short. Python 3.11 does not notice
    when it writes it (https://github.com/python/cpython/issues/126606), and could not import these
    modules again. Raises OSError if one cannot be removed."""
    specifications = [getattr(module, "__spec__", None) for module in [*sys.modules.values()]]
    paths = {getattr(specification, "cached", None) for specification in specifications}
    for path in map(Path, paths - {None}):
        try:
            marshal.loads(path.read_bytes()[HEADER:])
        except (EOFError, ValueError, TypeError):
            path.unlink(missing_ok=True)
        except OSError:  # it was not written
            continue
