"""How a client fails: for now, or for good. The sentence is for the person who reads `why`."""


class ClientError(Exception):
    def __init__(self, message: str, *, status: int | None = None, detail: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status  # of HTTP, where one came
        self.detail = detail


class Temporary(ClientError):
    """Trying again may help: a timeout, a lost connection, a busy server. The effect is unknown."""


class Permanent(ClientError):
    """Trying the same again does not help: not found, not allowed, not valid, in conflict."""


class Denied(Permanent):
    """Whoever asks may not, whatever is asked: the account is unknown, or lacks the permission.

    It says nothing about what was asked for, and passes where a server has only just begun.
    """
