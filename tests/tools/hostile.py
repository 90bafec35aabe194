#!/usr/bin/env python3
"""Writes backups that mean harm, in the layout of the original.

    hostile.py CASE CONTAINER CANARY_DIR

The backup is `gold` of host `h`. Every case also holds the harmless file `good` first and, where the stream goes
on, `also-good` last. CANARY_DIR is a directory outside the restore target that must stay as it is.
"""
import gzip
import os
import sys

ZERO = 1700000000


def raw(kind, name, size, body, magic=b"ustar\x0000", link=b""):
    """One header by hand, with any lie in it."""
    header = bytearray(512)
    header[0:len(name[:100])] = name[:100]
    header[100:108], header[108:116], header[116:124] = b"0000755\0", b"0000000\0", b"0000000\0"
    header[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    header[136:148] = b"00000000001\0"
    header[156:157] = kind
    header[157:157 + len(link[:100])] = link[:100]
    header[257:265] = magic
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + body + b"\0" * (-len(body) % 512)


def pax(records, declared=None):
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        body += b"%d %s=%s\n" % (length, key, value)
    return raw(b"x", b"pax", len(body) if declared is None else declared, body)


GOOD = raw(b"0", b"./good", 4, b"good")
ALSO = raw(b"0", b"./also-good", 4, b"good")
END = bytes(1024)


def plain(*pieces, end=END):
    return GOOD + b"".join(pieces) + ALSO + end


def case(name, canary):
    c = os.fsencode(canary)
    up = b"../" * 30 + c.lstrip(b"/")
    evil = lambda n, kind=b"0", link=b"": pax([(b"path", n)] + ([(b"linkpath", link)] if link else [])) + raw(
        kind, b"x", 4 if kind == b"0" else 0, b"evil" if kind == b"0" else b"", link=link)
    dumpdir = lambda d, text: pax([(b"GNU.dumpdir", text), (b"path", d)]) + raw(b"5", d, 0, b"")
    return {
        "absolute": lambda: plain(evil(c + b"/planted")),
        "dotdot": lambda: plain(evil(b"./" + up + b"/planted")),
        "dotdot_inside": lambda: plain(evil(b"./a/../../" + b"planted")),
        "symlink_then_file": lambda: plain(evil(b"./link", b"2", c), evil(b"./link/planted")),
        "symlink_then_directory": lambda: plain(evil(b"./link", b"2", c), evil(b"./link/dir", b"5")),
        "symlink_then_hard_link": lambda: plain(evil(b"./link", b"2", c), evil(b"./hard", b"1", b"./link/precious")),
        "symlink_replaced_by_file": lambda: plain(evil(b"./link", b"2", c + b"/precious"), evil(b"./link")),
        "hard_link_out": lambda: plain(evil(b"./hard", b"1", c + b"/precious"), evil(b"./hard")),
        "hard_link_dotdot": lambda: plain(evil(b"./hard", b"1", b"./" + up + b"/precious"), evil(b"./hard")),
        "dumpdir_deletes_outside": lambda: plain(dumpdir(b"./" + up, b"\0")),
        "dumpdir_through_symlink": lambda: plain(evil(b"./link", b"2", c), dumpdir(b"./link", b"\0")),
        "rename_out": lambda: plain(dumpdir(b"./", b"Ygood\0Yalso-good\0R./good\0T" + c + b"/planted\0\0")),
        "rename_in": lambda: plain(dumpdir(b"./", b"Ygood\0Yalso-good\0R" + c + b"/precious\0T./stolen\0\0")),
        "dumpdir_without_end": lambda: plain(dumpdir(b"./d", b"Yabc")),
        "root_is_a_file": lambda: plain(evil(b"./")),
        "root_is_a_symlink": lambda: plain(evil(b"./", b"2", c), evil(b"./planted")),
        "empty_name": lambda: plain(evil(b"")),
        "nul_in_name": lambda: plain(evil(b"./a\0b")),
        "very_deep": lambda: plain(evil(b"./" + b"d/" * 1_000_000 + b"f")),
        "component_too_long": lambda: plain(evil(b"./" + b"n" * 100_000)),
        "pax_says_4_gib": lambda: GOOD + pax([(b"path", b"x")], declared=4 << 30),
        "pax_length_lies": lambda: plain(raw(b"x", b"p", 512, b"999999999999999999999 path=x\n".ljust(512, b"\0"))),
        "pax_zero_length": lambda: plain(raw(b"x", b"p", 512, b"0 path=x\n".ljust(512, b"\0"))),
        "long_name_says_4_gib": lambda: GOOD + raw(b"L", b"././@LongLink", 4 << 30, b"x"),
        "size_lies": lambda: GOOD + raw(b"0", b"./big", 1 << 32, b"short"),
        "size_negative": lambda: plain(raw(b"0", b"./neg", b"\xff" * 12, b"")),
        "size_huge": lambda: plain(raw(b"0", b"./huge", b"\x80" + b"\xff" * 11, b"")),
        "pax_size_negative": lambda: plain(pax([(b"size", b"-5")]) + raw(b"0", b"./neg", 0, b"")),
        "sparse_overlaps": lambda: plain(pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"./s"), (b"GNU.sparse.realsize", b"100")]) +
            raw(b"0", b"./s", 520, b"2\n50\n4\n10\n4\n".ljust(512, b"\0") + b"evilevil")),
        "sparse_map_endless": lambda: plain(pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"./s"), (b"GNU.sparse.realsize", b"100")]) +
            raw(b"0", b"./s", 512, b"99999999999\n".ljust(512, b"0"))),
        "sparse_beyond_end": lambda: plain(pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"./s"), (b"GNU.sparse.realsize", b"10")]) +
            raw(b"0", b"./s", 516, b"1\n9223372036854775800\n4\n".ljust(512, b"\0") + b"evil")),
        "checksum_wrong": lambda: GOOD + b"\xff" * 512 + ALSO + END,
        "unknown_type": lambda: plain(raw(b"Z", b"./unknown", 4, b"evil")),
        "cut": lambda: GOOD + raw(b"0", b"./cut", 100_000, b"x" * 5000),
        "garbage": lambda: os.urandom(100_000),
        "empty": lambda: b"",
        "xattr_name_bad": lambda: plain(pax([(b"SCHILY.xattr.user." + b"n" * 70_000, b"v")]) + raw(b"0", b"./xa", 0, b"")),
        "acl_text_bad": lambda: plain(pax([(b"SCHILY.acl.access", b"user::rwx,nonsense:::\xff,user:99999999999:q")]) + raw(b"0", b"./acl", 0, b"")),
        "time_bad": lambda: plain(pax([(b"mtime", b"99999999999999999999999.5")]) + raw(b"0", b"./time", 0, b"")),
        "owner_bad": lambda: plain(pax([(b"uid", b"99999999999999999999")]) + raw(b"0", b"./owner", 0, b"")),
    }[name]()


def store(container, level, stream):
    """Stores one level as the original lays it out."""
    for tree, file, content in (
        ("data", "data", gzip.compress(stream, 1)),
        ("metadata", "metadata", b'{"engine_name": "tar", "compression": "gzip", "encryption": false}'),
    ):
        directory = os.path.join(container, tree, "tar", "h_gold", str(ZERO), f"{level}_{ZERO + level}")
        os.makedirs(directory)
        with open(os.path.join(directory, file), "wb") as f:
            f.write(content)


def main():
    name, container, canary = sys.argv[1:]
    stream = case(name, canary)
    # Renames and deletions are replayed by increments only.
    if name.startswith(("rename", "dumpdir")):
        store(container, 0, GOOD + END)
        store(container, 1, stream)
    else:
        store(container, 0, stream)


if __name__ == "__main__":
    main()
