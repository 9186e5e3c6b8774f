"""Errors of object stores, whose libraries have many, as one clear line each; nothing of credentials is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tap_redivis.batch.storage.common import Closed
from tap_redivis.errors import StorageError

_CREDENTIALS = "Check the credentials in the environment or the profile"
_ACCESS = "Let the tap's credentials write there, or set batch_config.storage.root to another place"
_BUCKET = "Create it, or set batch_config.storage.root to another one"
_NETWORK = "Check the endpoint and the network, and run again: the load goes on after its last complete file"
_AGAIN = "Run again: the load goes on after its last complete file"
_OTHER_RUN = "End the other run that loads the same there, and run again"
_CHECK = "Check batch_config.storage.root and the credentials, and run again"

_FORBIDDEN = "Forbidden: "  # how gcsfs says 403, which it says in no other way

_NO_BUCKET = ("the bucket does not exist", _BUCKET)
_DENIED = ("access is denied", _ACCESS)
_WRONG = ("the credentials are not valid", _CREDENTIALS)
_NONE = ("there are no credentials", _CREDENTIALS)
_UNREACHABLE = ("the server cannot be reached", _NETWORK)
_BUSY = ("the server is not able to answer", _AGAIN)

_SAID: dict[str, tuple[str, str]] = {
    # codes of S3
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": ("that is no name of a bucket", _CHECK),
    "NoSuchUpload": ("the upload was aborted by another run", _OTHER_RUN),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": _WRONG,
    "SignatureDoesNotMatch": _WRONG,
    "InvalidToken": _WRONG,
    "ExpiredToken": ("the credentials have expired", _CREDENTIALS),
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    # codes of Azure
    "ContainerNotFound": ("the container does not exist", _BUCKET),
    "ContainerBeingDeleted": ("the container does not exist", _BUCKET),
    "AuthenticationFailed": _WRONG,
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "InvalidBlockList": ("the upload was overwritten by another run", _OTHER_RUN),
    "ServerBusy": _BUSY,
    # statuses, where a store says no more
    "401": _WRONG,
    "403": _DENIED,
    "404": _NO_BUCKET,
    "429": _BUSY,
    "500": _BUSY,
    "503": _BUSY,
    # kinds of errors
    "NoCredentialsError": _NONE,
    "PartialCredentialsError": ("the credentials are not complete", _CREDENTIALS),
    "ProfileNotFound": ("the profile is not in the configuration of AWS", _CREDENTIALS),
    "TokenRetrievalError": ("the credentials have expired", _CREDENTIALS),
    "DefaultCredentialsError": _NONE,
    "GoogleAuthError": _WRONG,
    "RefreshError": ("the credentials have expired", _CREDENTIALS),
    "CredentialUnavailableError": _NONE,
    "NoAccount": (
        "no account is named, or the connection string is not valid",
        "Set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING, and run again",
    ),
    "ClientAuthenticationError": _WRONG,
    "ServiceRequestError": _UNREACHABLE,
    "ParamValidationError": ("that is no name of a bucket", _CHECK),
    "InvalidRegionError": ("the region is not valid", "Check AWS_DEFAULT_REGION"),
    "EndpointConnectionError": _UNREACHABLE,
    "ConnectTimeoutError": _UNREACHABLE,
    "ReadTimeoutError": _UNREACHABLE,
    "ClientConnectorError": _UNREACHABLE,
    "ClientConnectorDNSError": _UNREACHABLE,
    "ServerDisconnectedError": _UNREACHABLE,
    "FSTimeoutError": _UNREACHABLE,
    "PermissionError": _DENIED,
    "FileNotFoundError": _NO_BUCKET,
    "TimeoutError": _UNREACHABLE,
}


@contextmanager
def bucket_errors(where: str) -> Iterator[None]:
    """Turn errors of an object store's library into one clear line.

    Raises:
        StorageError: There was one.
    """
    try:
        yield
    except (StorageError, Closed):
        raise
    except Exception as error:
        what, todo = _said(error)
        raise StorageError(f"a BATCH file cannot be written: {what}", where=where, todo=todo) from error


def is_denied(error: BaseException | None) -> bool:
    """Whether an error of a library says that we have no right to do what was asked for."""
    return error is not None and _said(error) == _DENIED


def _said(error: BaseException) -> tuple[str, str]:
    """Say what an error is, and what to do."""
    signs = [sign for each in _chain(error) for sign in _signs(each)]
    return next((_SAID[sign] for sign in signs if sign in _SAID), (signs[0], _CHECK))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came of, the first one first: it knows most, unless another one took its place."""
    if (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        yield from _chain(cause)
    yield error


def _signs(error: BaseException) -> Iterator[str]:
    """Give what tells what an error is: its code, its status, or else its kind, which are free of what was sent."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code"))
    for name in ("error_code", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, (str, int)):
            yield str(getattr(value, "value", value))
    if str(error).startswith(_FORBIDDEN):
        yield "403"
    yield from (kind.__name__ for kind in type(error).__mro__)
