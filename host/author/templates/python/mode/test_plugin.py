"""The plugin's own tests, run natively against the generated bindings."""

import unittest

from componentize_py_types import Err
from wit_world.exports import mode as wit
from wit_world.imports import types

from app import Mode


def request(path, leave_out):
    value = types.SettingValue_Many(leave_out)
    return wit.BackupRequest(path, [types.Setting("leave-out", value)], 0, None)


class TestMode(unittest.TestCase):
    def test_the_folder_is_offered_once_without_what_is_left_out(self):
        backup = Mode().prepare_backup(request("/home/ann", ["cache"]))
        tree = backup.next().value
        self.assertEqual((tree.root, tree.exclude), ("/home/ann", ["cache"]))
        self.assertIsNone(backup.next())

    def test_a_restore_knows_no_other_source(self):
        restore = Mode().prepare_restore(wit.RestoreRequest("/tmp/back", [], ""))
        self.assertEqual(restore.destination("tree").value, "/tmp/back")
        with self.assertRaises(Err):
            restore.destination("other")

    def test_a_missing_path_is_told(self):
        with self.assertRaises(Err) as raised:
            Mode().prepare_backup(request(None, []))
        self.assertEqual(raised.exception.value.kind, types.ErrorKind.INVALID)


if __name__ == "__main__":
    unittest.main()
