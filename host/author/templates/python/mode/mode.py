"""A prepared backup and a prepared restore."""

from componentize_py_types import Err
from wit_world.exports import mode as wit
from wit_world.imports import types

# The one source of a backup. It has the same name at every level.
SOURCE = "tree"


class Backup(wit.Backup):
    """A backup whose source is still to be offered."""

    def __init__(self, root, leave_out):
        self.tree = wit.TreeSource(name=SOURCE, root=root, one_file_system=True, exclude=list(leave_out))

    def next(self):
        tree, self.tree = self.tree, None
        return None if tree is None else wit.Source_Tree(tree)

    @classmethod
    def finish(cls, this, outcome):
        # What a restore must know. Newer versions of the plugin must read it, so it has a version.
        return '{"version":1}'


class Restore(wit.Restore):
    """Where a restore goes."""

    def __init__(self, target):
        self.target = target

    def destination(self, source):
        if source != SOURCE:
            message = f'mode {{name}} knows no source "{source}"'
            raise Err(types.Error(types.ErrorKind.NOT_FOUND, message, None, None))
        return wit.Destination_Directory(self.target)

    def receive(self, source, content):
        raise Err(types.Error(types.ErrorKind.UNSUPPORTED, "this mode takes no stream", None, None))

    @classmethod
    def finish(cls, this, outcome):
        """There is nothing to do."""
