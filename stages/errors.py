"""The error a person can mend: shown as one message, without a traceback."""


class InputError(ValueError):
    """Something given to a stage is wrong; the message says what, where and what is allowed."""
