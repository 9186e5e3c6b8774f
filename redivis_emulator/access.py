"""Access control: tokens, scopes, access levels and the rate limit (redivis-api §1.3, §1.7)."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from redivis_emulator.errors import ApiError, not_found
from redivis_emulator.library import ACCESS_LEVELS, AccessLevel, Dataset, Workflow
from redivis_emulator.references import escape

if TYPE_CHECKING:
    from redivis_emulator.clock import Clock

# A scope includes those before it (redivis-api §1.3).
_DATA_SCOPES = ("data.overview", "data.metadata", "data.data", "data.edit")
_ORGANIZATION_SCOPES = ("organization.read", "organization.write")
_SCOPE_OF_LEVEL: dict[AccessLevel, str] = {
    "overview": "data.overview",
    "metadata": "data.metadata",
    "sample": "data.data",
    "data": "data.data",
    "edit": "data.edit",
}
ALL_SCOPES = ("public", *_DATA_SCOPES, *_ORGANIZATION_SCOPES, "workflow.write")


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """The rights of a bearer token.

    Args:
        user: The user that the token belongs to; read sessions, queries and exports belong to users.
        scopes: Scopes of redivis-api §1.3.
        access: Access level by glob on `owner.dataset`; the first match counts. A dataset without a match has the
            `access_level` of its dataset.yml.
    """

    user: str = "emulator_user"
    scopes: tuple[str, ...] = ALL_SCOPES
    access: dict[str, AccessLevel] = {}


def access_level(caller: Token | None, container: Dataset | Workflow) -> AccessLevel:
    """Return the access level of a caller for a dataset or workflow; it is never below the public level."""
    if caller is None:
        return container.public_access_level
    name = f"{escape(container.owner.name)}.{escape(container.name)}"
    granted = (level for pattern, level in caller.access.items() if fnmatchcase(name, pattern.lower()))
    return max(next(granted, container.access_level), container.public_access_level, key=ACCESS_LEVELS.index)


def is_public(container: Dataset | Workflow, level: AccessLevel) -> bool:
    """Return whether a resource is public at this level."""
    return ACCESS_LEVELS.index(container.public_access_level) >= ACCESS_LEVELS.index(level)


def require(caller: Token | None, container: Dataset | Workflow, level: AccessLevel) -> None:
    """Check that a caller may use a resource at this level.

    Raises:
        ApiError: 401 without a token, 404 if the resource is invisible, 403 if the access level or scope is too low.
    """
    if is_public(container, level):
        return
    if caller is None:
        raise ApiError(401, "invalid_token", "This resource is not public: a valid access token is needed.")
    rank = ACCESS_LEVELS.index(access_level(caller, container))
    # The API answers 404 for an invisible resource, and for a draft to callers without edit access (§1.3, §1.8).
    if rank == 0 or (level == "edit" and rank < ACCESS_LEVELS.index("edit")):
        raise not_found(f"The resource {container.owner.name}.{container.name}")
    if rank < ACCESS_LEVELS.index(level):
        msg = f"You need {level} access to {container.owner.name}.{container.name}; you have {ACCESS_LEVELS[rank]}."
        raise ApiError(403, "forbidden", msg)
    require_scope(caller, _SCOPE_OF_LEVEL[level])


def require_organization(caller: Token | None) -> None:
    """Check that a caller may see the members of organizations; the emulator takes all users for administrators.

    Raises:
        ApiError: 401 without a token, 403 without a scope for organizations.
    """
    if caller is None:
        raise ApiError(401, "invalid_token", "Members of organizations are not public: a valid access token is needed.")
    require_scope(caller, "organization.read")


def require_scope(caller: Token, scope: str) -> None:
    """Check that a token has a scope, or one that includes it.

    Raises:
        ApiError: 403 `insufficient_scope` with the name of the scope.
    """
    ladder = _DATA_SCOPES if scope in _DATA_SCOPES else _ORGANIZATION_SCOPES
    if not set(ladder[ladder.index(scope) :]) & set(caller.scopes):
        extra: dict[str, Any] = {"scope": scope, "amr_values": None}
        raise ApiError(403, "insufficient_scope", f"The access token lacks the scope {scope}.", extra=extra)


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """The number of requests that each token may send in a number of seconds; all callers without a token share one."""

    requests: int = 1000
    seconds: float = 60.0


@dataclass
class _Window:
    ends_at: float
    used: int = 0


class RateLimiter:
    """Counts requests in time windows; a window begins with the first request of a token."""

    def __init__(self, clock: Clock, limit: RateLimit) -> None:
        self._clock = clock
        self._limit = limit
        self._windows: dict[str, _Window] = {}

    def count(
        self, caller: str, form: Literal["epoch", "delta", "absent"] = "epoch"
    ) -> tuple[dict[str, str], float | None]:
        """Count a request.

        Args:
            caller: Whose request it is.
            form: What the headers say of the end of the window: its moment or the seconds until then; or no headers.

        Returns:
            The headers of redivis-api §1.6, and the seconds to wait if the request exceeds the limit, else None.
        """
        now = self._clock.now()
        window = self._windows.get(caller)
        if window is None or window.ends_at <= now:
            window = self._windows[caller] = _Window(now + self._limit.seconds)
        window.used += 1
        reset = window.ends_at - (now if form == "delta" else 0)
        headers = {
            "X-Ratelimit-Limit": str(self._limit.requests),
            "X-Ratelimit-Remaining": str(max(0, self._limit.requests - window.used)),
            "X-Ratelimit-Reset": str(int(reset) + 1),
        }
        return {} if form == "absent" else headers, window.ends_at - now if window.used > self._limit.requests else None
