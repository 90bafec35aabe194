"""Mode home: a home directory, without what comes back by itself.

An example of a plugin in Python. The contract calls `Mode`; what is prepared stands in `mode.py`, where componentize-py looks for
the resources of the interface `mode`. Nothing but `Err` with the contract's error is raised: anything else ends the instance.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import control, types

import mode

# What each word leaves out, in gitignore's patterns: a slash in front means the home directory itself.
GROUPS = {
    "caches": ["/.cache/", "/.npm/_cacache/", "/.cargo/registry/", "/snap/*/common/.cache/", "__pycache__/"],
    "trash": ["/.local/share/Trash/", "/.Trash/"],
    "downloads": ["/Downloads/"],
    "built": ["node_modules/", ".venv/", "/**/target/debug/", "/**/target/release/"],
}


def invalid(message):
    """The contract's error for a request that makes no sense."""
    return Err(types.Error(types.ErrorKind.INVALID, message, None, None))


def left_out(keep):
    """The patterns of all groups but those that are to be kept."""
    unknown = [word for word in keep if word not in GROUPS]
    if unknown:
        raise invalid(f"keep={unknown[0]}: there are only {', '.join(GROUPS)}")
    return [pattern for word, patterns in GROUPS.items() if word not in keep for pattern in patterns]


class Mode(exports.Mode):
    """What the component exports."""

    def prepare_backup(self, request):
        if request.path is None:
            raise invalid("name the home directory to back up")
        settings = {setting.name: setting.value.value for setting in request.settings}
        patterns = left_out(settings.get("keep", []))
        control.log(control.LogLevel.INFO, f"leaving out {' '.join(patterns)}")
        return mode.Backup(request.path, patterns)

    def prepare_restore(self, request):
        if request.target is None:
            raise invalid("name the folder to restore into")
        return mode.Restore(request.target)

    def remove(self, settings, note):
        """There is no external data to delete."""

    def undo(self, settings, leftover):
        raise Err(types.Error(types.ErrorKind.UNSUPPORTED, "this mode announces no leftovers", None, None))
