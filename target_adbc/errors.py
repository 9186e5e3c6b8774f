"""What can go wrong, said in one line and without secrets."""

secrets: set[str] = set()  # what no line that this process writes may show


class TargetError(Exception):
    """What happened, where, and what to do; all that is known to go wrong here is one."""


def shown(text: object) -> str:
    """Make a text one line without secrets."""
    line = " ".join(str(text).split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        line = line.replace(secret, "***")
    return line
