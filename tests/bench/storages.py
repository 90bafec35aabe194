"""Rows over real servers: Swift and SSH, beside the clients that people use for them.

The servers are those of tests/servers, on loopback, with their data in memory; so are the peers' and freezer's own. What is
sent doesn't compress, so that the way to the storage is measured and not a codec.
"""
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEGMENT = 32 << 20


class Server:
    """One of tests/servers, as long as the `with` lasts; `values` is what its env file says."""

    def __init__(self, script):
        self.script = os.path.join(ROOT, "tests/servers", script + ".sh")
        self.values = {}

    def __enter__(self):
        memory = "/dev/shm"
        self.folder = tempfile.mkdtemp(prefix="freezer-bench-server.", dir=memory if os.path.isdir(memory) else None)
        os.chmod(self.folder, 0o711)  # servers look at it as other users
        try:
            subprocess.run([self.script, "up", self.folder], check=True)
        except (OSError, subprocess.SubprocessError):
            self.__exit__()
            raise
        with open(os.path.join(self.folder, "env"), encoding="utf-8") as lines:
            self.values = dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
        return self

    def __exit__(self, *_):
        subprocess.run([self.script, "down", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)


def fill(bench):
    """Four files of random bytes below `big`; how many MiB they have together."""
    each = 4 if bench.options["quick"] else 64
    os.makedirs(bench.path("big"), exist_ok=True)
    for number in range(4):
        with open(bench.path("big", str(number)), "wb") as f:
            f.write(os.urandom(each << 20))
    return 4 * each


def out(bench):
    """A target that is empty each time."""
    def prepare():
        bench.remove("out")
        os.makedirs(bench.path("out"))
    return prepare


def backup(bench, url, *options):
    return bench.freezer("backup", bench.path("big"), "--name", "b", "--host", "h", "--to", url, "--compression", "none", *options)


def restore(bench, url, *options):
    return bench.freezer("restore", "--name", "b", "--host", "h", "--from", url, "--target", bench.path("out"), *options)


def swift(bench, overhead):
    """Up and down through storage swift, beside `swift` and rclone; then what the sandbox costs on the way."""
    mib = fill(bench)
    with Server("swift") as server:
        login = {name: server.values[name] for name in ("ST_AUTH", "ST_USER", "ST_KEY")}
        bench.environment.update(login, RCLONE_CONFIG_OBJECTS_TYPE="swift", RCLONE_CONFIG_OBJECTS_AUTH=login["ST_AUTH"],
                                 RCLONE_CONFIG_OBJECTS_USER=login["ST_USER"], RCLONE_CONFIG_OBJECTS_KEY=login["ST_KEY"])

        def gone(*containers):
            return lambda: [bench.run(f"swift delete {container} >/dev/null 2>&1 || true", True) for container in containers]
        peers = [("swift upload --segment-size", gone("peer", "peer_segments"), ["swift", "-q", "upload", "-S", str(SEGMENT), "peer", "big"], False, None)]
        fetching = [("swift download", out(bench), ["swift", "-q", "download", "peer", "-D", bench.path("out")], False, None)]
        if shutil.which("rclone"):
            chunk = "--swift-chunk-size=32M"
            peers.append(("rclone", gone("rclone", "rclone_segments"), ["rclone", "copy", chunk, bench.path("big"), "objects:rclone"], False, None))
            fetching.append(("rclone", out(bench), ["rclone", "copy", "objects:rclone", bench.path("out")], False, None))
        bench.run(backup(bench, "swift:freezer"))  # compiles and caches the plugin
        bench.compare(f"backup of {mib} MiB, swift", peers, ("freezer", gone("freezer"), backup(bench, "swift:freezer"), False, None))
        road = bench.rows[-1]["freezer"]["seconds"]
        bench.compare(f"restore of {mib} MiB, swift", fetching, ("freezer", out(bench), restore(bench, "swift:freezer"), False, None))
        overhead(bench, "plugin overhead on the road over HTTP", road, (SEGMENT, max(1, (mib << 20) // SEGMENT)), list(login.values()))
    bench.remove("out")
    bench.remove("big")


def ssh(bench):
    """Up and down through storage ssh, beside sftp, rclone and, encrypted, restic."""
    mib = fill(bench)
    with Server("sshd") as server:
        store = server.path("store")
        os.makedirs(store)
        shutil.chown(store, server.values["USER"])
        port, key, hosts = server.values["PORT"], server.path("user_ed25519"), server.path("known_hosts")
        place = f"{server.values['USER']}@{server.values['HOST']}"
        trust = ("-i", key, "-o", f"UserKnownHostsFile={hosts}", "-o", "BatchMode=yes")
        login = ("--storage-option", f"ssh-key={key}", "--storage-option", f"ssh-known-hosts={hosts}")
        bench.environment.update(
            RCLONE_CONFIG_SHELL_TYPE="sftp", RCLONE_CONFIG_SHELL_HOST=server.values["HOST"], RCLONE_CONFIG_SHELL_PORT=port,
            RCLONE_CONFIG_SHELL_USER=server.values["USER"], RCLONE_CONFIG_SHELL_KEY_FILE=key, RCLONE_CONFIG_SHELL_KNOWN_HOSTS_FILE=hosts)

        def fresh(name):
            def prepare():
                shutil.rmtree(os.path.join(store, name), ignore_errors=True)
                os.makedirs(os.path.join(store, name))
                shutil.chown(os.path.join(store, name), server.values["USER"])
            return prepare
        sftp = " ".join(("sftp", "-q", "-P", port, *trust, "-b", "-", place))
        peers = [("sftp put", fresh("sftp"), f"echo 'put -r {bench.path('big')} {store}/sftp' | {sftp}", True, None)]
        fetching = [("sftp get", out(bench), f"echo 'get -r {store}/sftp/big {bench.path('out')}' | {sftp}", True, None)]
        if shutil.which("rclone"):
            peers.append(("rclone", fresh("rclone"), ["rclone", "copy", bench.path("big"), f"shell:{store}/rclone"], False, None))
            fetching.append(("rclone", out(bench), ["rclone", "copy", f"shell:{store}/rclone", bench.path("out")], False, None))
        url = f"ssh://{place}:{port}{store}/freezer"
        fresh("freezer")()
        bench.run(backup(bench, url, *login))  # compiles and caches the plugin
        bench.compare(f"backup of {mib} MiB, ssh", peers, ("freezer", fresh("freezer"), backup(bench, url, *login), False, None))
        bench.compare(f"restore of {mib} MiB, ssh", fetching, ("freezer", out(bench), restore(bench, url, *login), False, None))
        if shutil.which("restic"):
            command = " ".join(("ssh", "-p", port, *trust, place, "-s", "sftp"))
            restic = ["restic", "-q", "-r", f"sftp:{place}:{store}/restic", "-o", f"sftp.command={command}"]

            def repository():
                fresh("restic")()
                bench.run([*restic, "init"])
            locked = ("--encrypt-pass-file", bench.path("pass"), *login)
            bench.compare(f"backup of {mib} MiB, ssh, encrypted", [("restic -o sftp", repository, [*restic, "backup", bench.path("big")], False, None)],
                          ("freezer", fresh("freezer"), backup(bench, url, *locked), False, None))
            bench.compare(f"restore of {mib} MiB, ssh, encrypted",
                          [("restic -o sftp", out(bench), [*restic, "restore", "latest", "--target", bench.path("out")], False, None)],
                          ("freezer", out(bench), restore(bench, url, *locked), False, None))
    bench.remove("out")
    bench.remove("big")


def limits(bench):
    """What comes of a limit of bandwidth: up to Swift and SSH at once, four uploads each, then down from each."""
    seconds = 3 if bench.options["quick"] else 12
    rate = 8  # MiB/s, for all storages together
    os.makedirs(bench.path("big"), exist_ok=True)
    with open(bench.path("big", "noise"), "wb") as f:
        f.write(os.urandom(rate * seconds // 2 << 20))
    with Server("swift") as swift_server, Server("sshd") as ssh_server:
        bench.environment.update({name: swift_server.values[name] for name in ("ST_AUTH", "ST_USER", "ST_KEY")})
        store, values = ssh_server.path("store"), ssh_server.values
        os.makedirs(store)
        shutil.chown(store, values["USER"])
        login = ("--storage-option", f"ssh-key={ssh_server.path('user_ed25519')}", "--storage-option", f"ssh-known-hosts={ssh_server.path('known_hosts')}")
        urls = ("swift:freezer", f"ssh://{values['USER']}@{values['HOST']}:{values['PORT']}{store}/freezer")
        small = ("--max-segment-size", "1M", "--uploads", "4")
        up = [*backup(bench, urls[0], *small, *login), "--to", urls[1], "--full"]
        bench.run(up)  # compiles and caches the plugins
        held(bench, "up to Swift and SSH together", [*up, "--upload-limit", f"{rate}M"], (rate, rate * seconds))
        for name, url, more in (("Swift", urls[0], ()), ("SSH", urls[1], login)):
            out(bench)()
            command = [*restore(bench, url, *more), "--download-limit", f"{rate}M"]
            held(bench, f"down from {name}", command, (rate, rate * seconds // 2))
    bench.remove("out")
    bench.remove("big")


def held(bench, what, command, expected):
    """Runs a command that moves so many MiB under a limit, and tells which part of the limit it came to."""
    rate, mib = expected
    seconds = bench.run(command)[0]
    part = mib / rate / seconds
    bench.limits.append({"what": what, "limit_mib_per_second": rate, "mib": mib, "seconds": round(seconds, 2), "part": round(part, 3)})
    print(f"\n{what}: {mib} MiB at {rate} MiB/s in {seconds:.2f} s, {part:.3f} of the limit (budget: within 5 %: {'met' if abs(part - 1) <= 0.05 else 'MISSED'})")
