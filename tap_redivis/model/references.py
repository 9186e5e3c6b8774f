"""Parse and write Redivis references (``owner.dataset:ref:version.table:ref``), escape names, match globs. Pure."""

import hashlib
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote

from tap_redivis.errors import ConfigError

_OWNER = re.compile(r"[A-Za-z0-9_]+")
REFERENCE_ID = re.compile(r"[0-9a-z]{4}")
_VERSION = re.compile(r"v?(\d+)[._](\d+)|current|next")
_VERSION_DOT = re.compile(r":(?!\w{4}$)v?\d+$")  # four characters are a reference id
_SEPARATORS = re.compile(r"[.:`]")
_SAMPLE = re.compile(r":sample(?=[:./]|$)", re.IGNORECASE)
_SITE = re.compile(r"(\w+://)?([\w-]+\.)?redivis\.com/")
_GLOB = re.compile(r"[*?]")

STREAM_NAME_LIMIT = 63  # longest name, in characters, that SQL targets keep whole (targets.md, rule 13)


@dataclass(frozen=True)
class ContainerRef:
    """A dataset or a workflow."""

    owner: str  # a user or an organization: only a request tells which
    name: str  # as written, escaped or not; may hold * and ?
    reference_id: str | None = None  # four characters, which survive a renaming (redivis-api §3.1)
    version: str | None = None  # "v1_0", "current" or "next"; None: the current one, or a workflow
    sample: bool = False

    def __str__(self) -> str:
        """Write the reference as the API reads it."""
        # redivis-api §3.1: :sample stands before the version.
        suffixes = (self.reference_id, "sample" if self.sample else None, self.version)
        return f"{self.owner}.{':'.join([_written(self.name), *filter(None, suffixes)])}"


@dataclass(frozen=True)
class TableRef:
    """A table in a dataset or workflow."""

    container: ContainerRef
    name: str  # as written, escaped or not; may hold * and ?
    reference_id: str | None = None

    def __str__(self) -> str:
        """Write the reference as the API reads it."""
        return f"{self.container}.{':'.join([_written(self.name), *filter(None, [self.reference_id])])}"

    @property
    def is_glob(self) -> bool:
        """Whether the name of the table, or of what holds it, is a pattern."""
        return is_glob(self.container.name) or is_glob(self.name)

    def matches(self, name: str, reference_id: str | None) -> bool:
        """Whether a table of that name and reference id is meant; the id decides where both have one."""
        if self.reference_id and reference_id:
            return self.reference_id == reference_id
        return name_matches(self.name, name)


@dataclass(frozen=True)
class UploadRef:
    """An upload of a draft's table."""

    table: TableRef  # in the version "next"
    name: str  # as written, dots included; may hold * and ?

    def __str__(self) -> str:
        """Write the reference of the table, and the upload's name."""
        return f"{self.table}.{self.name}"


def parse_container(text: str, setting: str) -> ContainerRef:
    """Parse ``owner.name[:refid][:sample][:version]``; a ``ConfigError`` names the setting that it stands in."""
    owner, segment, table = _split(text, setting)
    if table is not None:
        raise _malformed(text, setting, "it names a table", "owner.dataset, such as demo.nycflights13")
    return _container(owner, segment, text, setting)


def parse_table(text: str, setting: str) -> TableRef:
    """Parse ``owner.container[:refid][:sample][:version].table[:refid][:sample]`` (see ``parse_container``)."""
    owner, segment, table = _split(text, setting)
    if not table or "." in table:
        raise _malformed(text, setting, "it does not name one table", "owner.dataset.table")
    name, *suffixes = table.split(":")
    reference_id = next(filter(REFERENCE_ID.fullmatch, suffixes), None)
    if not (name or reference_id) or set(suffixes) - {reference_id, "sample"}:
        raise _malformed(text, setting, f"{table!r} is not a table", "owner.dataset.table or owner.dataset.table:refid")
    container = _container(owner, segment, text, setting)
    # redivis-api §13: :sample may stand on the table as well.
    return TableRef(replace(container, sample=container.sample or "sample" in suffixes), name, reference_id)


def parse_upload(text: str, setting: str) -> UploadRef:
    """Parse ``owner.dataset[:refid][:next].table[:refid].upload``, a draft's upload, whose name may hold dots."""
    example = "owner.dataset:next.table.upload, such as demo.visits:next.visits.march.csv"
    owner, segment, below = _split(text, setting)
    table, _, upload = (below or "").partition(".")
    if not table or not upload:
        raise _malformed(text, setting, "it does not name an upload of a table", example)
    reference = parse_table(f"{owner}.{segment}.{table}", setting)
    if reference.container.version not in {None, "next"} or reference.container.sample:
        raise _malformed(text, setting, "only a draft has uploads", example)
    return UploadRef(replace(reference, container=replace(reference.container, version="next")), upload)


def escape_name(name: str) -> str:
    """Escape a name as Redivis does: anything but letters, digits and ``_`` becomes one ``_`` (redivis-api §3.1)."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def is_glob(name: str) -> bool:
    """Whether a name is a pattern."""
    return _GLOB.search(name) is not None


def name_matches(pattern: str, name: str) -> bool:
    """Whether ``name`` is meant by ``pattern`` (``*`` and ``?`` are wild; case and escaping do not count)."""
    if is_glob(pattern):
        # Brackets stand for themselves: fnmatch would read a set of characters.
        folded = pattern.replace("[", "[[]").lower()
        return fnmatchcase(name.lower(), folded) or fnmatchcase(escape_name(name).lower(), folded)
    return escape_name(pattern).lower() == escape_name(name).lower()


def same_version(asked: str, tag: str) -> bool:
    """Whether a version tag of the server (``v1.0``) is the version that was asked for (``v1_0``, ``1.0``)."""
    return asked.lstrip("v").replace("_", ".") == tag.lstrip("v").replace("_", ".")


def pinned(container: ContainerRef, tag: str) -> ContainerRef:
    """Return the reference of one version of a dataset."""
    return replace(container, version=tag.replace(".", "_"))


def names_sample(reference: str) -> bool:
    """Whether a reference, or a path with one, says that a sample is meant."""
    return _SAMPLE.search(unquote(reference)) is not None


def unpinned(container: ContainerRef) -> ContainerRef:
    """Return the reference of a dataset as a whole: of no version and no sample."""
    return replace(container, version=None, sample=False)


def url_path(kind: str, reference: ContainerRef | TableRef | str) -> str:
    """Build ``/<kind>/<reference>``, the reference percent-encoded as the official client does (redivis-api §3.2)."""
    return f"/{kind}/{quote(str(reference), safe='')}"


def stream_name(pattern: str, *, owner: str, dataset: str, table: str, version: str) -> str:
    """Fill in the setting ``stream_name_format``: ``[a-z0-9_]``; a long name is cut and gets a short hash."""
    parts = {"owner": owner, "dataset": dataset, "table": table, "version": version}
    try:
        name = pattern.format(**{key: escape_name(value).lower() for key, value in parts.items()})
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{pattern!r} cannot be filled in ({error})",
            where="stream_name_format",
            hint="Use only {owner}, {dataset}, {table} and {version}",
        ) from None
    name = re.sub(r"[^a-z0-9_]", "_", name.lower())
    if len(name) <= STREAM_NAME_LIMIT:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: STREAM_NAME_LIMIT - 9]}_{digest}"


def _written(name: str) -> str:
    """Escape a name that would not be read back as it is (redivis-api §3.1)."""
    return escape_name(name) if _SEPARATORS.search(name) else name


def _split(text: str, setting: str) -> tuple[str, str, str | None]:
    """Split into the owner, the dataset or workflow with its suffixes, and the rest."""
    owner, _, rest = text.partition(".")
    if not rest or not _OWNER.fullmatch(owner) or _SITE.match(text):
        raise _malformed(text, setting, "it does not begin with an owner", "owner.dataset or owner.dataset.table")
    for dot in re.finditer(r"\.", rest):
        head, tail = rest[: dot.start()], rest[dot.end() :]
        # A version may be written with a dot: owner.dataset:v1.0.table
        if not (_VERSION_DOT.search(head) and re.match(r"\d+(?:[.:]|$)", tail)):
            return owner, head, tail
    return owner, rest, None


def _container(owner: str, segment: str, text: str, setting: str) -> ContainerRef:
    name, *suffixes = segment.split(":")
    container = ContainerRef(owner, name)
    # redivis-api §3.1: the documentation is not consistent about the order of suffixes, so any order is good.
    for suffix in suffixes:
        if suffix == "sample":
            container = replace(container, sample=True)
        elif version := _VERSION.fullmatch(suffix):
            container = replace(container, version=f"v{version[1]}_{version[2]}" if version[1] else suffix)
        elif REFERENCE_ID.fullmatch(suffix):
            container = replace(container, reference_id=suffix)
        else:
            raise _malformed(text, setting, f"{suffix!r} is no reference id and no version", "owner.dataset:ab12:v1_0")
    if not (name or container.reference_id):
        raise _malformed(text, setting, "the dataset has no name", "owner.dataset")
    return container


def _malformed(text: str, setting: str, what: str, example: str) -> ConfigError:
    parts = re.sub(r"[?#].*", "", _SITE.sub("", text)).strip("/").split("/")
    if 2 <= len(parts) <= 3 and all(map(_OWNER.fullmatch, parts)):  # noqa: PLR2004 - as in the address of a page
        example = ".".join(parts)
    return ConfigError(f"the reference {text!r} is malformed: {what}", where=setting, hint=f"Write {example}")
