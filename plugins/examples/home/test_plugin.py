"""The plugin's own tests, run natively against the generated bindings."""

import unittest

from componentize_py_types import Err
from wit_world.imports import types

from app import GROUPS, left_out


class TestPatterns(unittest.TestCase):
    def test_what_is_to_be_kept_is_not_left_out(self):
        patterns = left_out(["downloads"])
        self.assertNotIn("/Downloads/", patterns)
        self.assertIn("/.cache/", patterns)
        self.assertEqual(left_out(list(GROUPS)), [])

    def test_a_word_that_means_nothing_is_told(self):
        with self.assertRaises(Err) as raised:
            left_out(["caches", "cahces"])
        self.assertEqual(raised.exception.value.kind, types.ErrorKind.INVALID)
        self.assertIn("cahces", raised.exception.value.message)


if __name__ == "__main__":
    unittest.main()
