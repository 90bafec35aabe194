"""Names: of objects, and of what isn't whole yet. All of an upload's state is in its names.

    key              data/tar/web01_etc/1700000000/0_1700000000/data
    run              16 hex digits, new for each upload
    temporary file   data/tar/web01_etc/1700000000/0_1700000000/.data.RUN.partial
    upload-id        RUN:data/tar/web01_etc/1700000000/0_1700000000/data
    receipt          BYTES@SECONDS.NANOSECONDS, of the file when the segment was in it
"""

import os
import re
import unicodedata
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world.imports import types

# A key with its run is no longer than a key may be, and a temporary name fits into a file system.
KEY_BYTES = 1024 - 17
PART_BYTES = 255
LAST_PART_BYTES = PART_BYTES - 26
# Keeps walks over a container shallow.
KEY_PARTS = 32

TEMPORARY = re.compile(r"\.(.+)\.([0-9a-f]{16})\.partial")
UPLOAD = re.compile(r"([0-9a-f]{16}):(.+)")
RECEIPT = re.compile(r"([0-9]{1,20})@(-?[0-9]{1,20})\.([0-9]{1,9})")


def error(kind, message):
    """The contract's error."""
    return Err(types.Error(kind, message, None, None))


def invalid(message):
    return error(types.ErrorKind.INVALID, message)


def check_key(key):
    """Refuses what is no key."""
    if not is_key(key):
        raise invalid(f"{key[:60]!r} is no key here")


def is_key(key):
    """Whether it is a key by the contract, and can be a file's path."""
    if len(key.encode()) > KEY_BYTES or any(unicodedata.category(letter) == "Cc" for letter in key):
        return False
    parts = key.split("/")
    return (
        all(part not in ("", ".", "..") and len(part.encode()) <= PART_BYTES for part in parts)
        and len(parts) <= KEY_PARTS
        and len(parts[-1].encode()) <= LAST_PART_BYTES
        and not is_temporary(parts[-1])
    )


def is_temporary(name):
    """Whether a file of that name is an upload's."""
    return TEMPORARY.fullmatch(name) is not None


def check_prefix(prefix):
    """Refuses what is neither "" nor a key with a slash at its end; answers it without that slash."""
    if prefix == "":
        return prefix
    if not prefix.endswith("/"):
        raise invalid(f'the prefix {prefix[:60]!r} doesn\'t end with "/"')
    check_key(prefix[:-1])
    return prefix[:-1]


@dataclass(frozen=True)
class Upload:
    """An object that isn't whole yet."""

    run: str
    key: str

    @classmethod
    def new(cls, key):
        # The module `random` was seeded when the component was made: it would be the same in every instance.
        return cls(os.urandom(8).hex(), key)

    @classmethod
    def parse(cls, text):
        """The upload of an upload-id."""
        found = UPLOAD.fullmatch(text)
        if found is None:
            raise invalid(f"{text[:60]!r} names no upload of this storage")
        check_key(found[2])
        return cls(found[1], found[2])

    @classmethod
    def of_file(cls, path):
        """The upload whose temporary file has that path, or None."""
        folder, name = split(path)
        found = TEMPORARY.fullmatch(name)
        if found is None or not is_key(folder + found[1]):
            return None
        return cls(found[2], folder + found[1])

    @property
    def id(self):
        return f"{self.run}:{self.key}"

    @property
    def temporary(self):
        """The file that holds it until it is whole: beside its place, so that it gets there by one rename."""
        folder, name = split(self.key)
        return f"{folder}.{name}.{self.run}.partial"


def split(path):
    """The folder with its slash, and the last part."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


def receipt(entry, size):
    """What `commit` must know of a segment of that size, when the upload's file is this entry."""
    return f"{size}@{entry.modified.seconds}.{entry.modified.nanoseconds}"


def sum_receipts(receipts):
    """The bytes of all segments, and the time of the last one."""
    found = [RECEIPT.fullmatch(text) for text in receipts]
    if None in found:
        raise invalid(f"segment {found.index(None)} has no receipt of this storage")
    times = [(int(one[2]), int(one[3])) for one in found]
    return sum(int(one[1]) for one in found), max(times, default=None)
