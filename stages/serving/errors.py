"""A request that is not answered: the status, a word for programs and a sentence for people."""


class Refused(Exception):
    """Ends a request with an HTTP status; `retry_after_s` tells when to come again."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        """Take what the answer says."""
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s
