#!/usr/bin/env python3
"""Makes a tree with every odd kind of entry a file system can hold.

    oddtree.py DIR [--many N]

--many N: a directory of N files (default 2000). What the user or the file system does not allow (device nodes
without root, …) is left out and said on stderr, so the tree may differ between machines but never silently.
"""
import os
import socket
import subprocess
import sys


def attempt(what, action):
    """Runs action; a refusal by the system is said, not hidden."""
    try:
        action()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"oddtree: left out {what}: {error}", file=sys.stderr)


def write(path, content=b"", mode=0o644):
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, mode)


def sparse(path, size, parts):
    """A file of the given size that is hole but for the parts (offset, bytes)."""
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, content in parts:
            f.seek(offset)
            f.write(content)


def names(root):
    base = root + b"/names"
    os.mkdir(base)
    odd = [
        b"new\nline", b"\n", b"bad\xff\xfeutf8", b"\xc3\x28", b" leading", b"trailing ", b"tab\tname", b"-rf", b"--help",
        b"*", b"?", b"[a]", b"!", b"#", b"~", b"$HOME", b"`id`", b"'quote'", b'"double"', b"back\\slash", b"a=b%c",
        b"\x01\x02\x7f", b"\x1b[31mred", b"...", b"..a", b".hidden", "snow☃man".encode(), "e\u0301".encode(), "é".encode(),
        b"x" * 255, b"y" * 100, b"z" * 101, b"n" * 154, b"d.d", b"d-d", b"d0", b"d", b"con", b"PaxHeaders.0",
    ]
    for name in odd:
        if name == b"d":
            os.mkdir(base + b"/d")
            write(base + b"/d/inside", b"sorts between d and d-d by components")
        else:
            write(base + b"/" + name, b"content of " + name[:20])
    os.mkdir(base + b"/dir\nnew\xff")
    write(base + b"/dir\nnew\xff/f", b"x")
    os.symlink(b"\xff\n target", base + b"/odd-link")
    os.symlink(b"t" * 4000, base + b"/long-link")
    os.symlink(b"/etc/passwd", base + b"/absolute-link")
    os.symlink(b"../../../../..", base + b"/up-link")
    os.symlink(b"self", base + b"/self")


def deep(root):
    """300 directories deep; another one whose path has more than 3000 bytes; a third beyond PATH_MAX."""
    for name, part, count in ((b"deep", b"level", 300), (b"long", b"p" * 200, 15), (b"beyond", b"q" * 240, 20)):
        os.mkdir(root + b"/" + name)
        handle = os.open(root + b"/" + name, os.O_RDONLY)
        for _ in range(count):
            os.mkdir(part, dir_fd=handle)
            child = os.open(part, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = child
        leaf = os.open(b"leaf", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=handle)
        os.write(leaf, b"at the bottom of " + name)
        os.close(leaf)
        os.close(handle)


def links(root):
    base = root + b"/links"
    for d in (b"", b"/a", b"/b", b"/b/c", b"/z"):
        os.mkdir(base + d)
    write(base + b"/z/first-made-last-sorted", b"shared by four names")
    for name in (b"/a/one", b"/b/c/two", b"/three"):
        os.link(base + b"/z/first-made-last-sorted", base + name)
    write(base + b"/empty1")
    os.link(base + b"/empty1", base + b"/a/empty2")


def holes(root):
    base = root + b"/holes"
    os.mkdir(base)
    mib = 1 << 20
    sparse(base + b"/all", 5 * mib, [])
    sparse(base + b"/start", 4 * mib, [(3 * mib, b"d" * mib)])
    sparse(base + b"/end", 4 * mib + 17, [(0, b"d" * mib)])
    sparse(base + b"/both", 8 * mib + 1, [(3 * mib, b"d" * 5000)])
    sparse(base + b"/many", 64 * mib, [(i * mib, b"%d" % i * 100) for i in range(0, 64, 2)])
    sparse(base + b"/tiny-hole", 3 * 4096, [(0, b"a" * 4096), (8192, b"b" * 4096)])
    sparse(base + b"/over-8-gib", 9 << 30, [(1, b"one"), ((8 << 30) + 5, b"beyond what octal sizes hold"), ((9 << 30) - 3, b"end")])
    sparse(base + b"/one-byte-at-end", 512 * mib, [(512 * mib - 1, b"!")])
    os.link(base + b"/both", base + b"/both-again")


def attributes(root):
    base = root + b"/attributes"
    os.mkdir(base)
    for name in (b"user", b"empty", b"acl", b"capability", b"trusted", b"big"):
        write(base + b"/" + name, name)
    os.mkdir(base + b"/dir")
    binary = bytes(range(256))
    attempt("user xattrs", lambda: os.setxattr(base + b"/user", b"user.binary", binary + b"\n\x00\n"))
    attempt("user xattrs", lambda: os.setxattr(base + b"/user", b"user.a=b%c", b"="))
    attempt("user xattrs", lambda: os.setxattr(base + b"/empty", b"user.nothing", b""))
    attempt("user xattrs", lambda: os.setxattr(base + b"/big", b"user.big", b"\x00v" * 1500))
    attempt("directory xattr", lambda: os.setxattr(base + b"/dir", b"user.on.directory", b"\xff"))
    attempt("trusted xattr", lambda: os.setxattr(base + b"/trusted", b"trusted.overlay", b"\x00y"))
    attempt("capability", lambda: subprocess.run(["setcap", "cap_net_raw+ep", base + b"/capability"], check=True))
    acl = lambda *words: subprocess.run(["setfacl", *words], check=True)
    attempt("access ACL", lambda: acl("-m", "u:12345:rw,g:54321:r,m::rw", base + b"/acl"))
    attempt("default ACL", lambda: acl("-m", "u:12345:rwx,d:u:12345:rx,d:g::r", base + b"/dir"))
    attempt("named user ACL", lambda: acl("-m", "u:daemon:r", base + b"/user"))


def times(root):
    base = root + b"/times"
    os.mkdir(base)
    day = 86400
    for name, seconds, ns in (
        (b"before-1970", -365 * day, 250_000_000), (b"before-1902", -70 * 365 * day, 1), (b"minus-one-ns", -1, 999_999_999),
        (b"zero", 0, 0), (b"after-2038", 2**31, 5), (b"after-2106", 2**32 + 9, 123_456_789), (b"after-2242", 2**33 + 9, 999_999_999),
        (b"plain-ns", 1_700_000_000, 1),
    ):
        write(base + b"/" + name, name)
        os.utime(base + b"/" + name, ns=(seconds * 10**9 + ns,) * 2)
        os.symlink(name, base + b"/link-" + name)
        os.utime(base + b"/link-" + name, ns=(seconds * 10**9 + ns,) * 2, follow_symlinks=False)
        os.mkdir(base + b"/dir-" + name)
        os.utime(base + b"/dir-" + name, ns=(seconds * 10**9 + ns,) * 2)


def modes(root):
    base = root + b"/modes"
    os.mkdir(base)
    for mode in (0o000, 0o200, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
        write(base + b"/%04o" % mode, b"x", mode)
        os.mkdir(base + b"/dir-%04o" % mode)
        write(base + b"/dir-%04o/inside" % mode, b"y")
        os.chmod(base + b"/dir-%04o" % mode, mode)
    write(base + b"/zero-bytes")
    write(base + b"/owned", b"o", 0o4750)

    def own():
        os.chown(base + b"/owned", 12345, 54321)
        os.chmod(base + b"/owned", 0o4750)
        write(base + b"/large-ids", b"o")
        os.chown(base + b"/large-ids", 2**31 + 5, 2**32 - 10)
        os.mkdir(base + b"/owned-dir")
        os.chown(base + b"/owned-dir", 4242, 4243)
        os.symlink(b"x", base + b"/owned-link")
        os.chown(base + b"/owned-link", 7, 8, follow_symlinks=False)
    attempt("foreign owners", own)


def special(root):
    base = root + b"/special"
    os.mkdir(base)
    os.mkfifo(base + b"/fifo", 0o620)
    attempt("character device", lambda: os.mknod(base + b"/null", 0o20666, os.makedev(1, 3)))
    attempt("block device", lambda: os.mknod(base + b"/loop", 0o60660, os.makedev(7, 200)))
    attempt("large device number", lambda: os.mknod(base + b"/large", 0o20600, os.makedev(4095, 0xFFFFF)))
    here = os.open(".", os.O_RDONLY)
    os.chdir(base)
    socket.socket(socket.AF_UNIX).bind("socket")
    os.fchdir(here)
    os.close(here)


def many(root, count):
    base = root + b"/many"
    os.mkdir(base)
    handle = os.open(base, os.O_RDONLY)
    for number in range(count):
        fd = os.open(b"file-with-a-longer-name-%08d" % number, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=handle)
        if number % 10 == 0:
            os.write(fd, b"%d" % number)
        os.close(fd)
    os.close(handle)


def sizes(root):
    """Contents around the borders of tar blocks and of every frame size."""
    base = root + b"/sizes"
    os.mkdir(base)
    for size in (0, 1, 511, 512, 513, 4095, 4096, 899_999, 900_000, 900_001, (1 << 20) - 512, 1 << 20, (1 << 20) + 1, (4 << 20) + 3):
        write(base + b"/%d" % size, (b"%d," % size * (size // 3 + 1))[:size])
    write(base + b"/noise", os.urandom(3 << 20))
    os.mkdir(base + b"/empty-directory")


def main():
    root = os.fsencode(sys.argv[1])
    count = int(sys.argv[sys.argv.index("--many") + 1]) if "--many" in sys.argv else 2000
    os.umask(0)
    os.makedirs(root, exist_ok=True)
    for make in (names, deep, links, holes, attributes, modes, special, sizes):
        make(root)
    many(root, count)
    times(root)
    os.utime(root, ns=(1_600_000_000_123_456_789,) * 2)


if __name__ == "__main__":
    main()
