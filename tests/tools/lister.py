#!/usr/bin/env python3
"""Lists a tree, or compares two, independently of freezer.

    lister.py list DIR                      one JSON object per entry, sorted by path bytes
    lister.py compare EXPECTED ACTUAL       differences, one a line; exit 0 none, 1 some
    lister.py against LIST.jsonl ACTUAL     the same against a stored list

Options of compare and against (comma separated, after the directories):
    --ignore FIELD,…    fields left out: mode owner mtime xattrs holes links rdev
    --whole-seconds     times compare in whole seconds
    --holes-slack N     bytes of holes that may be missing per file (default 65536)

Every entry is reached through a directory handle, so paths longer than PATH_MAX are listed too.
Sockets are left out: no archive holds them.
"""
import base64
import hashlib
import json
import os
import stat
import sys
import urllib.parse

TYPES = {
    stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}
BLOCK = 4096
# Above this size only non-zero blocks are hashed, so that a file of many GiB of hole costs nothing.
LARGE = 256 << 20


def quote(raw):
    return urllib.parse.quote_from_bytes(raw, safe="/ ._-")


def extents(fd, size):
    """Data extents (start, end) of an open file."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end
        position = end


def digest(fd, size):
    """SHA-256 of the content, and the number of bytes that lie in holes."""
    hasher = hashlib.sha256()
    data = list(extents(fd, size))
    holes = size - sum(end - start for start, end in data)
    if size <= LARGE:
        os.lseek(fd, 0, os.SEEK_SET)
        while chunk := os.read(fd, 1 << 20):
            hasher.update(chunk)
        return hasher.hexdigest(), holes
    zeros = bytes(BLOCK)
    for start, end in data:
        position = start - start % BLOCK
        while position < end:
            block = os.pread(fd, BLOCK, position)
            if block != zeros[:len(block)]:
                hasher.update(b"%d:" % position + block)
            position += BLOCK
    return hasher.hexdigest(), holes


def xattrs(path):
    """Extended attributes, ACLs among them, as name → base64."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode() for name in sorted(names)}


def entry(directory, name, path):
    """Everything about one name of an open directory."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    kind = TYPES.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None, status
    handle = b"/proc/self/fd/%d/" % directory + name
    found = {
        "path": quote(path), "type": kind, "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "owner": "%d:%d" % (status.st_uid, status.st_gid),
        "mtime": "%d.%09d" % divmod(status.st_mtime_ns, 10**9), "xattrs": xattrs(handle),
    }
    if kind == "file":
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            found["size"] = status.st_size
            found["sha256"], found["holes"] = digest(fd, status.st_size)
        finally:
            os.close(fd)
    elif kind == "symlink":
        found["target"] = quote(os.readlink(name, dir_fd=directory))
        del found["mode"]
    elif kind in ("char", "block"):
        found["rdev"] = "%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    return found, status


def walk(root):
    """Every entry below root, and root itself as the path '.'."""
    out = []
    groups = {}
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    def visit(directory, prefix):
        for name in sorted(os.fsencode(n) for n in os.listdir(directory)):
            path = prefix + name
            found, status = entry(directory, name, path)
            if found is None:
                continue
            out.append((path, found))
            if found["type"] == "dir":
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                try:
                    visit(child, path + b"/")
                finally:
                    os.close(child)
            elif status.st_nlink > 1:
                groups.setdefault((status.st_dev, status.st_ino), []).append((path, found))

    found, _ = entry(top, b".", b".")
    out.append((b".", found))
    visit(top, b"")
    os.close(top)
    for members in groups.values():
        members.sort(key=lambda member: member[0])
        if len(members) > 1:
            for _, found in members:
                found["links"] = quote(members[0][0])
    out.sort(key=lambda pair: pair[0])
    return [found for _, found in out]


def differences(expected, actual, ignore, whole_seconds, slack):
    """Lines that say how actual differs from expected, in path order."""
    wanted = {e["path"]: e for e in expected}
    have = {e["path"]: e for e in actual}
    for path in sorted(wanted.keys() | have.keys()):
        if path not in have:
            yield f"missing: {path} ({wanted[path]['type']})"
            continue
        if path not in wanted:
            yield f"extra: {path} ({have[path]['type']})"
            continue
        a, b = wanted[path], have[path]
        for field in sorted(a.keys() | b.keys()):
            if field in ignore or field == "path":
                continue
            left, right = a.get(field), b.get(field)
            if field == "mtime" and whole_seconds:
                left, right = left.split(".")[0], right.split(".")[0]
            if field == "holes":
                # More holes than before are as good; fewer cost space.
                if (right or 0) + slack >= (left or 0):
                    continue
            if left != right:
                yield f"{field}: {path}: expected {left!r}, found {right!r}"


def stored(path):
    """A list written earlier by the original's test set: fewer fields, other names of some."""
    entries = []
    for line in open(path, encoding="ascii"):
        e = json.loads(line)
        if e["type"] == "link":
            e["type"] = "symlink"
            e.pop("mode", None)
        link = e.pop("hardlink_to", None)
        if link:
            e["links"] = link
        entries.append(e)
    by_path = {e["path"]: e for e in entries}
    for e in list(entries):
        if "links" in e:
            by_path[e["links"]]["links"] = e["links"]
    return entries


def only_fields_of(expected, actual):
    """Cuts the actual entries to the fields that the stored list knows."""
    known = {e["path"]: e for e in expected}
    cut = []
    for e in actual:
        if e["path"] == "." and "." not in known:
            continue
        fields = set(known.get(e["path"], e)) | {"links"}
        cut.append({k: v for k, v in e.items() if k in fields})
    return cut


def main(arguments):
    sys.setrecursionlimit(5000)
    ignore, whole_seconds, slack, plain = set(), False, 65536, []
    rest = iter(arguments)
    for word in rest:
        if word == "--ignore":
            ignore = set(next(rest).split(","))
        elif word == "--whole-seconds":
            whole_seconds = True
        elif word == "--holes-slack":
            slack = int(next(rest))
        else:
            plain.append(word)
    if plain[:1] == ["list"]:
        for found in walk(plain[1]):
            print(json.dumps(found))
        return 0
    if plain[0] == "against":
        expected = stored(plain[1])
        actual = only_fields_of(expected, walk(plain[2]))
    else:
        expected, actual = walk(plain[1]), walk(plain[2])
    count = 0
    for line in differences(expected, actual, ignore, whole_seconds, slack):
        count += 1
        if count <= 40:
            print(line)
    if count:
        print(f"{count} differences in {len(expected)} entries")
        return 1
    print(f"equal: {len(expected)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
