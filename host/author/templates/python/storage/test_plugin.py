"""The plugin's own tests, run natively against the generated bindings, over a directory in memory."""

import unittest
from unittest import mock

from componentize_py_types import Err
from wit_world.exports import storage as wit
from wit_world.imports import directories, types

import names
import storage
from app import Storage


def failure(kind):
    return Err(types.Error(kind, "as wanted", None, None))


class Memory:
    """A directory in memory: files by their paths. `broken` is the next call that fails."""

    def __init__(self):
        self.files, self.broken = {}, None

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        return None

    def call(self, name):
        if name == self.broken:
            self.broken = None
            raise failure(types.ErrorKind.UNAVAILABLE)

    def stat(self, path):
        self.call("stat")
        kinds = directories.EntryKind
        name, time = path.rpartition("/")[2], types.Timestamp(1_700_000_000, 5)
        if path in self.files:
            return directories.Entry(name, kinds.FILE, len(self.files[path]), time)
        if any(file.startswith(path + "/") for file in self.files):
            return directories.Entry(name, kinds.DIRECTORY, 0, time)
        raise failure(types.ErrorKind.NOT_FOUND)

    def write(self, path, offset, content):
        self.call("write")
        old = self.files.get(path, b"")
        self.files[path] = old[:offset] + content + old[offset + len(content) :]
        return len(content)

    def publish(self, source, target, existing):
        self.call("publish")
        if existing == directories.Existing.REFUSE and target in self.files:
            raise failure(types.ErrorKind.ALREADY_EXISTS)
        self.files[target] = self.files.pop(source)

    def remove(self, path):
        self.files.pop(path, None)


class Nothing:
    """An empty body."""

    def __init__(self, content):
        self.content = content

    def __enter__(self):
        return self.content

    def __exit__(self, *failure):
        return None


class TestStorage(unittest.TestCase):
    def setUp(self):
        self.memory = Memory()
        for target, replacement in [("storage.files.open", lambda *_: self.memory), ("storage.bodies.Body", Nothing)]:
            patch = mock.patch(target, replacement)
            patch.start()
            self.addCleanup(patch.stop)
        path = types.Setting("path", types.SettingValue_Text("/srv/shelf"))
        self.store = Storage().open([path])

    def fails(self, kind, call, *arguments):
        with self.assertRaises(Err) as raised:
            call(*arguments)
        self.assertEqual(raised.exception.value.kind, kind, raised.exception.value.message)

    def upload(self):
        upload = self.store.begin("a/large", None)
        pieces = [(0, b"one "), (4, b"two")]
        receipts = [self.store.put_segment(upload, number, *piece) for number, piece in enumerate(pieces)]
        self.store.commit(upload, 7, receipts)
        return upload, receipts

    def test_an_upload_is_an_object_after_its_commit_and_a_commit_may_come_again(self):
        upload, receipts = self.upload()
        self.assertEqual(self.memory.files, {"a/large": b"one two"})
        self.store.commit(upload, 7, receipts)
        self.fails(types.ErrorKind.ALREADY_EXISTS, self.store.begin, "a/large", None)

    def test_whichever_call_breaks_nothing_half_is_left(self):
        for broken in ["stat", "write", "publish"]:
            self.memory.files.clear()
            self.memory.broken = broken
            self.fails(types.ErrorKind.UNAVAILABLE, self.store.put, "a/b", b"new", wit.Existing.REFUSE)
            self.assertEqual(self.memory.files, {}, broken)
            self.store.put("a/b", b"new", wit.Existing.REFUSE)
            self.assertEqual(self.memory.files, {"a/b": b"new"}, broken)

    def test_names_tell_each_other_and_strange_ones_are_refused(self):
        for key in ["data", "data/tar/h_n/1/0_1/data", "a/.hidden", "a/x:y"]:
            upload = names.Upload.new(key)
            self.assertEqual(names.Upload.parse(upload.id), upload)
            self.assertEqual(names.Upload.of_file(upload.temporary), upload)
            self.fails(types.ErrorKind.INVALID, self.store.stat, upload.temporary)
        for key in ["", "/a", "a/../b", "a\nb", "k" * 2000]:
            self.fails(types.ErrorKind.INVALID, self.store.stat, key)
        for upload in ["", "data", "0123456789abcdef:../data"]:
            self.fails(types.ErrorKind.INVALID, self.store.abort, upload)

    def test_a_relative_path_is_refused(self):
        path = types.Setting("path", types.SettingValue_Text("shelf"))
        self.fails(types.ErrorKind.INVALID, Storage().open, [path])


if __name__ == "__main__":
    unittest.main()
