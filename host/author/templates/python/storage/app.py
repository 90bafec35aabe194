"""Storage {{name}}: objects as files below a directory of this machine.

The contract calls `Storage`; what is opened stands in `storage.py`, where componentize-py looks for the resources of the interface
`storage`. Raise nothing but `Err` with the contract's error: anything else ends the instance.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types

import storage


class Storage(exports.Storage):
    """What the component exports."""

    def open(self, settings):
        path = {setting.name: setting.value.value for setting in settings}["path"]
        if not path.startswith("/"):
            message = "the setting path must be an absolute path"
            raise Err(types.Error(types.ErrorKind.INVALID, message, None, None))
        return storage.Store(path)
