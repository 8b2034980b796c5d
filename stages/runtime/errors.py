"""Errors that are for people."""


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do. It
    is shown without a traceback."""
