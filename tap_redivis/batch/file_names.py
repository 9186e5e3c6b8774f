"""Names for the contents of files below their root, made of a template, whatever the files are called. Pure."""

import hashlib
import re
from collections.abc import Mapping

_LONGEST_PART = 255  # bytes; of most file systems
_LONGEST_NAME = 900  # bytes; object stores take 1,024, and the root has some
_LONGEST_SUFFIX = 20  # bytes of what follows the last dot, which is kept when a name is cut
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"\\|?*\ud800-\udfff]')
# Names of devices on Windows, and the folder in which files are written.
_RESERVED = re.compile(r"(?:con(?:in\$|out\$)?|prn|aux|nul|(?:com|lpt)[\d¹²³]|\.partial) *(?:\.|$)", re.IGNORECASE)


def name_below_root(template: str, places: Mapping[str, str], file_id: str, file_name: str) -> str:
    """Fill in a template; no two files get one name, and no name leads out of the root.

    Args:
        template: As in ``files.name``, checked.
        places: The values of all fields but those of the file.
        file_id: What tells files apart; unless a part of the template is it, it is hashed into the name.
        file_name: May have folders, separated by slashes.
    """
    values = {place: _part(value.replace("/", "_")) for place, value in places.items()}
    own_id = _part(file_id.replace("/", "_"))
    if own_id != file_id:  # another id could become the same
        own_id = _with_digest(own_id, file_id)
    name = "/".join(map(_part, filter(None, file_name.split("/")))) or own_id
    filled = template.format(**values, file_id=own_id, file_name=name)
    *folders, last = map(_part, filter(None, filled.split("/")))
    if not any(_tells_files_apart(part) for part in template.split("/")):
        last = _with_digest(last, file_id)
    whole = "/".join([*folders, last])
    return whole if len(whole.encode()) <= _LONGEST_NAME else f"{_digest(whole)}/{last}"


def _tells_files_apart(part: str) -> bool:
    # Beside a file's name, an id may seem to be another one: of ab and c, and of a and bc, abc is made.
    return re.search(r"(?<!\{)\{file_id\}", part) is not None and "{file_name" not in part


def _part(text: str) -> str:
    """Make one part of a path of a text."""
    safe = _UNSAFE.sub("_", text).rstrip(". ")  # Windows leaves these out
    if not safe or _RESERVED.match(safe):
        safe = f"_{safe}"
    return safe if len(safe.encode()) <= _LONGEST_PART else _with_digest(safe, text)


def _with_digest(part: str, text: str) -> str:
    """Put a digest of a text before the suffix of a part, which is cut to make room."""
    stem, dot, suffix = part.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = part, "", ""
    end = f"-{_digest(text)}{dot}{suffix}"
    return stem.encode()[: _LONGEST_PART - len(end.encode())].decode(errors="ignore") + end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
