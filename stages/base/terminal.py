"""The output as it is: a terminal or a pipe that cannot show every letter must not end a command."""

import io
import sys


def escape_what_cannot_be_shown() -> None:
    r"""Let letters that the output's encoding lacks be printed as `\xfc` instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
