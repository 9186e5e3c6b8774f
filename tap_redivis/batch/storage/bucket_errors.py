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
_ACCOUNT = "Set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING, and run again"
_CHECK = "Check batch_config.storage.root and the credentials, and run again"


class NoAccount(Exception):
    """The environment does not say which account of Azure it is."""


class NoSuchUpload(Exception):
    """The upload that should be completed is gone."""


_FORBIDDEN = "Forbidden: "  # how gcsfs says 403, which it says in no other way

_DENIED = "access is denied"
_KNOWN: list[tuple[str, str, str]] = [
    (_DENIED, _ACCESS, "AccessDenied AllAccessDisabled AuthorizationFailure AuthorizationPermissionMismatch"),
    (_DENIED, _ACCESS, "403 PermissionError"),
    ("the bucket does not exist", _BUCKET, "NoSuchBucket 404 FileNotFoundError"),
    ("the container does not exist", _BUCKET, "ContainerNotFound ContainerBeingDeleted"),
    ("that is no name of a bucket", _CHECK, "InvalidBucketName ParamValidationError"),
    ("the region is not valid", "Check AWS_DEFAULT_REGION", "InvalidRegionError"),
    ("the upload was aborted by another run", _OTHER_RUN, "NoSuchUpload 410"),
    ("the upload was overwritten by another run", _OTHER_RUN, "InvalidBlockList"),
    ("the credentials are not valid", _CREDENTIALS, "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken 401"),
    ("the credentials are not valid", _CREDENTIALS, "AuthenticationFailed ClientAuthenticationError GoogleAuthError"),
    ("the credentials have expired", _CREDENTIALS, "ExpiredToken TokenRetrievalError RefreshError"),
    ("the credentials are not complete", _CREDENTIALS, "PartialCredentialsError"),
    ("the profile is not in the configuration of AWS", _CREDENTIALS, "ProfileNotFound"),
    ("there are no credentials", _CREDENTIALS, "NoCredentialsError DefaultCredentialsError"),
    ("there are no credentials", _CREDENTIALS, "CredentialUnavailableError"),
    ("no account is named, or the connection string is not valid", _ACCOUNT, "NoAccount"),
    ("the server is not able to answer", _AGAIN, "SlowDown ServiceUnavailable InternalError ServerBusy 429 500 503"),
    ("the server cannot be reached", _NETWORK, "ServiceRequestError EndpointConnectionError ClientConnectorError"),
    ("the server cannot be reached", _NETWORK, "ConnectTimeoutError ReadTimeoutError FSTimeoutError TimeoutError"),
    ("the server cannot be reached", _NETWORK, "ClientConnectorDNSError ServerDisconnectedError"),
]
"""What an error is, what to do, and its signs: codes of the stores, statuses, and names of exceptions."""

_SAID = {sign: (what, hint) for what, hint, signs in _KNOWN for sign in signs.split()}


@contextmanager
def bucket_errors(where: str) -> Iterator[None]:
    """Turn errors of an object store's library into one ``StorageError``."""
    try:
        yield
    except (StorageError, Closed):
        raise
    except Exception as error:
        what, hint = _said(error)
        raise StorageError(f"a BATCH file cannot be written: {what}", where=where, hint=hint) from error


def is_denied(error: BaseException | None) -> bool:
    """Whether an error of a library says that we have no right to do what was asked for."""
    return error is not None and _said(error)[0] == _DENIED


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
