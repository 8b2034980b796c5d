"""Errors shown to users."""


class UserError(Exception):
    """A problem that the user can fix: the message says what is wrong, where, and what to do. It is
    shown without a traceback."""
