"""What every command of the project shares: its arguments, and errors that are for people."""

import argparse
import os
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do. It is shown without a traceback."""


def run(
    main: Callable[..., None],
    description: str,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    **arguments: str,
) -> None:
    """Call ``main`` with the positional command-line arguments, given as ``name='help text'``, and those that `options` adds to the
    parser.

    The process ends with exit status 0, 1 after a `UserError` (whose message goes to standard error), 2 after wrong arguments,
    or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=description.strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in arguments.items():
        parser.add_argument(name, help=text)
    if options:
        options(parser)
    try:
        main(**vars(parser.parse_args()))
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.stderr.flush()
        os._exit(128 + signal.SIGINT)  # at once: the threads of a backend may take long to end by themselves
