"""Mode {{name}}: a folder, without what needs no backup.

The contract calls `Mode`; what is prepared stands in `mode.py`, where componentize-py looks for the resources of the interface
`mode`. Raise nothing but `Err` with the contract's error: anything else ends the instance.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types

import mode


def invalid(message):
    """The contract's error for a request that makes no sense."""
    return Err(types.Error(types.ErrorKind.INVALID, message, None, None))


class Mode(exports.Mode):
    """What the component exports."""

    def prepare_backup(self, request):
        if request.path is None:
            raise invalid("name the folder to back up")
        settings = {setting.name: setting.value.value for setting in request.settings}
        return mode.Backup(request.path, settings.get("leave-out", []))

    def prepare_restore(self, request):
        if request.target is None:
            raise invalid("name the folder to restore into")
        return mode.Restore(request.target)

    def remove(self, settings, note):
        """There is no external data to delete."""

    def undo(self, settings, leftover):
        raise Err(types.Error(types.ErrorKind.UNSUPPORTED, "this mode announces no leftovers", None, None))
