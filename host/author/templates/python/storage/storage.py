"""An opened storage.

An object is a file whose path below the directory is its key. Until it is whole it lies under a temporary name that no listing
shows, and one rename makes it visible, after its bytes are on disk: nothing half ever bears a key. The host calls several
instances at once, so nothing is kept here. That goes for handles, too: a `Store` doesn't hear that the host has dropped it, so each
call closes what it opens.
"""

from itertools import islice

from componentize_py_types import Err
from wit_world.exports import storage as wit
from wit_world.imports import bodies, control, directories, files, types

from names import KEY_PARTS, Upload, check_key, check_prefix, error, is_key, is_temporary, receipt, split, sum_receipts

KIND = types.ErrorKind
FILE, FOLDER = directories.EntryKind.FILE, directories.EntryKind.DIRECTORY
# Most entries of a page, and most keys of one `remove`.
PAGE = 1000


class Store(wit.Store):
    """The objects below one directory."""

    def __init__(self, path):
        self.path = path

    def limits(self):
        # The host holds whole segments in memory; written at their places, they may be small.
        return wit.Limits(max_segments=100_000, min_segment_bytes=1, max_segment_bytes=8 << 20, parallel_calls=2)

    def list(self, prefix, cursor):
        folder = check_prefix(prefix)
        with self.reading() as directory, self.doing(f'list "{prefix}"'):
            if folder and not is_kind(find(directory, folder), FOLDER):
                return wit.KeyPage([], None)
            page = directory.list(folder, cursor)
        entries, foreign = [], []
        for entry in page.entries:
            key = prefix + entry.name
            if entry.kind == FILE and is_temporary(entry.name):
                continue
            if entry.kind == FILE and is_key(key):
                entries.append(object_entry(key, entry))
            elif entry.kind == FOLDER and is_key(key):
                entries.append(wit.KeyEntry(key + "/", wit.KeyKind.PREFIX, 0, entry.modified))
            else:
                foreign.append(entry.name)
        if foreign:
            # Who put it there may take it for a backup.
            control.log(
                control.LogLevel.WARNING,
                f'{foreign[0][:60]!r} and {len(foreign) - 1} more below "{prefix}" in {self.path} passed over: they can\'t be keys',
            )
        return wit.KeyPage(entries, page.next)

    def stat(self, key):
        check_key(key)
        with self.reading() as directory:
            return object_entry(key, self.present(directory, key))

    def read(self, key, offset, length):
        check_key(key)
        with self.reading() as directory:
            size = self.present(directory, key).size
            if offset > size:
                raise error(KIND.INVALID, f'object "{key}" in {self.path} has {size} bytes, none at {offset}')
            if length is not None and length > size - offset:
                raise error(KIND.CORRUPT, f'object "{key}" in {self.path} is too short: {size} bytes')
            with self.doing(f'read object "{key}"'):
                return directory.read(key, offset, length)

    def put(self, key, content, existing):
        check_key(key)
        refuse = existing == wit.Existing.REFUSE
        with self.writing() as directory, self.doing(f'store object "{key}"'):
            if refuse and find(directory, key) is not None:
                raise self.already(key)
            upload = Upload.new(key)
            existing = directories.Existing.REFUSE if refuse else directories.Existing.REPLACE
            try:
                directory.write(upload.temporary, 0, content)
                directory.publish(upload.temporary, key, existing)
            except Err:
                self.tidy(directory, upload)
                raise

    def remove(self, keys):
        if len(keys) > PAGE:
            raise error(KIND.INVALID, f"{len(keys)} keys to remove at once, {PAGE} may be")
        for key in keys:
            check_key(key)
        if not self.is_there():
            return
        with self.writing() as directory:
            for key in keys:
                with self.doing(f'remove object "{key}"'):
                    # A folder is no object: it must not go, not even an empty one.
                    if is_kind(find(directory, key), FILE):
                        directory.remove(key)
                        remove_empty(directory, key)

    def begin(self, key, size):
        check_key(key)
        with self.writing() as directory, self.doing(f'store object "{key}"'):
            if find(directory, key) is not None:
                raise self.already(key)
            upload = Upload.new(key)
            # The empty file shows at once whether anything can be written, and lets `pending` find the upload.
            try:
                with bodies.Body(b"") as nothing:
                    directory.write(upload.temporary, 0, nothing)
            except Err:
                self.tidy(directory, upload)
                raise
        return upload.id

    def put_segment(self, upload, number, offset, content):
        upload = Upload.parse(upload)
        with self.writing() as directory, self.doing(f'store segment {number} of object "{upload.key}"'):
            # Without this look, a segment that comes after an abort would begin the file anew.
            if find(directory, upload.temporary) is None:
                raise self.gone(upload)
            written = directory.write(upload.temporary, offset, content)
            return receipt(directory.stat(upload.temporary), written)

    def commit(self, upload, size, receipts):
        upload = Upload.parse(upload)
        key = upload.key
        if not self.is_there():
            raise self.gone(upload)
        sent, time = sum_receipts(receipts)
        with self.writing() as directory, self.doing(f'complete object "{key}"'):
            temporary = find(directory, upload.temporary)
            if temporary is not None:
                if not temporary.size == sent == size:
                    raise error(KIND.CORRUPT, f"it has {temporary.size} bytes, its segments {sent}, and {size} are wanted")
                directory.publish(upload.temporary, key, directories.Existing.REFUSE)
                return
            # The answer to an earlier commit was lost, or there was none: the file keeps the time of its last segment.
            found = find(directory, key)
            if not is_kind(found, FILE):
                raise self.gone(upload)
            if found.size != size or (size and time != (found.modified.seconds, found.modified.nanoseconds)):
                raise self.already(key)
            # The earlier one may have been broken off between renaming and syncing.
            directory.publish(key, key, directories.Existing.REPLACE)

    def abort(self, upload):
        upload = Upload.parse(upload)
        if not self.is_there():
            return
        with self.writing() as directory, self.doing(f'give up object "{upload.key}"'):
            directory.remove(upload.temporary)
            remove_empty(directory, upload.temporary)

    def pending(self, prefix, cursor):
        folder = check_prefix(prefix)
        with self.reading() as directory, self.doing(f'list "{prefix}"'):
            found = ((Upload.of_file(path), path, entry) for path, entry in walk(directory, folder, cursor))
            page = list(islice((one for one in found if one[0]), PAGE + 1))
        uploads = [wit.PendingUpload(upload.id, upload.key, entry.modified) for upload, _, entry in page[:PAGE]]
        return wit.PendingPage(uploads, page[PAGE - 1][1] if len(page) > PAGE else None)

    def usage(self):
        with self.reading() as directory, self.doing("count"):
            sizes = [entry.size for _, entry in walk(directory, "", None) if not is_temporary(entry.name)]
            _, available = directory.space()
        return [wit.ContainerUsage(self.path, len(sizes), sum(sizes), available)]

    def reading(self):
        """The directory; one that isn't there is told, and never made: its path may be mistyped."""
        return self.directory(directories.Access.READ_ONLY)

    def writing(self):
        """The directory, made if it isn't there."""
        return self.directory(directories.Access.READ_WRITE)

    def is_there(self):
        """Whether there is anything to remove or to go on with."""
        try:
            with self.reading():
                return True
        except Err as failure:
            if failure.value.kind == KIND.NOT_FOUND:
                return False
            raise

    def directory(self, access):
        with self.doing("open it"):
            return files.open(self.path, access)

    def present(self, directory, key):
        """The file of an object that must be there."""
        with self.doing(f'look at object "{key}"'):
            found = find(directory, key)
        if not is_kind(found, FILE):
            raise error(KIND.NOT_FOUND, f'there is no object "{key}" in {self.path}')
        return found

    def already(self, key):
        return error(KIND.ALREADY_EXISTS, f'object "{key}" is there already')

    def gone(self, upload):
        return error(KIND.NOT_FOUND, f'the upload of object "{upload.key}" to {self.path} is gone')

    def doing(self, what):
        return Doing(f"directory {self.path}: can't {what}")

    def tidy(self, directory, upload):
        """Takes the temporary file of what failed away. If that fails too, it is only told: the first failure matters."""
        try:
            directory.remove(upload.temporary)
        except Err as left:
            message = f'"{upload.temporary}" is left in {self.path}: {left.value.message}'
            control.log(control.LogLevel.WARNING, message)


class Doing:
    """Says of a failure what was being done, and leaves its kind as it is.

    A class, since `contextlib.contextmanager` changes what passes it, and an `Err` can't be changed.
    """

    def __init__(self, message):
        self.message = message

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, trace):
        if isinstance(failure, Err):
            why = failure.value
            raise Err(types.Error(why.kind, f"{self.message}: {why.message}", why.code, why.retry_after_ms)) from None


def is_kind(entry, kind):
    return entry is not None and entry.kind == kind


def object_entry(key, entry):
    return wit.KeyEntry(key, wit.KeyKind.OBJECT, entry.size, entry.modified)


def find(directory, path):
    """The entry of that path, or None."""
    try:
        return directory.stat(path)
    except Err as failure:
        if failure.value.kind == KIND.NOT_FOUND:
            return None
        raise


def remove_empty(directory, path):
    """Takes away the folders that a removal left empty: else every listing would go through those of all that ever was."""
    folder = split(path)[0].rstrip("/")
    try:
        while folder and is_kind(find(directory, folder), FOLDER):
            directory.remove(folder)
            folder = split(folder)[0].rstrip("/")
    except Err:
        # One that holds something stays, and so does what was just filled again.
        return


def walk(directory, folder, after):
    """All files below a folder with their paths, by the parts of these; only those behind `after`."""
    after = after.split("/") if after is not None else []
    cursor = None
    while True:
        try:
            page = directory.list(folder, cursor)
        except Err as failure:
            if failure.value.kind == KIND.NOT_FOUND:
                # It vanished meanwhile.
                return
            raise
        for entry in page.entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            parts = path.split("/")
            if entry.kind == FILE and parts > after:
                yield path, entry
            elif entry.kind == FOLDER and len(parts) < KEY_PARTS and (parts > after or parts == after[: len(parts)]):
                yield from walk(directory, path, "/".join(after) or None)
        cursor = page.next
        if cursor is None:
            return
