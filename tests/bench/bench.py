#!/usr/bin/env python3
"""Measures freezer beside its peers, in one run, on one tree, and prints ratios.

    bench.py [--tree DIR] [--rounds N] [--quick] [--json FILE] [--only WORD,…]

--tree    what is backed up (default /usr/share); it is copied into memory first, so that no disk is measured
--rounds  every command runs so often, peers and freezer by turns; the best time counts (default 3)
--quick   one round, a small tree: shows that the benchmark works, not what freezer can do
--only    only these parts: full zstd many restore one plugin swift ssh limits start memory

Ratios below 1 mean that freezer is faster or smaller. Peers that aren't installed are left out, loudly
(`tests/setup.sh bench` installs them).
"""
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import storages

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OVERHEAD = os.path.join(ROOT, "target/release/examples/plugin-overhead")
LOAD = os.path.join(ROOT, "target/release/examples/plugin-load")
PLUGINS = os.path.join(ROOT, "target/plugins")
FREEZER = os.environ.get("FREEZER_BIN") or os.path.join(ROOT, "target/release/freezer")
BUDGETS = {
    "level 0, gzip -6, encrypted": 0.27, "level 0, gzip -5, encrypted": 0.22, "level 0, zstd -3, encrypted": 0.9,
    "no change, 50 000 files": 0.8, "no change, 50 000 files, with a password": 1.3, "1 % of 50 000 files changed": 1.2,
    "full restore, gzip, encrypted": 0.4, "list, 10 plugins installed": 1.5,
}


class Bench:
    """One run: a scratch directory in memory, and the rows measured so far."""

    def __init__(self, options):
        self.options = options
        memory = "/dev/shm"
        self.scratch = tempfile.mkdtemp(prefix="freezer-bench.", dir=memory if os.path.isdir(memory) else None)
        self.home = self.path("home")
        os.makedirs(self.home)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": self.home, "LC_ALL": "C.UTF-8", "RESTIC_PASSWORD": "bench", "BORG_PASSPHRASE": "bench",
            "RESTIC_CACHE_DIR": self.path("restic-cache"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        with open(self.path("pass"), "w", encoding="ascii") as f:
            f.write("correct horse battery staple\n")
        self.rows = []
        self.memory = []
        self.notes = []
        self.limits = []

    def path(self, *names):
        return os.path.join(self.scratch, *names)

    def run(self, command, shell=False):
        """Seconds, CPU seconds, peak KiB of one command; a failure ends the benchmark."""
        words = ["bash", "-c", "set -o pipefail; " + command] if shell else command
        with open(self.path("output"), "w+b") as output:
            begun = time.monotonic()
            child = subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.scratch)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                output.seek(0)
                sys.exit(f"bench: failed with {child.returncode}: {words}\n{output.read().decode(errors='replace')[-2000:]}")
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss

    def freezer(self, *words):
        return [FREEZER, *words, "--quiet"]

    def backup(self, tree, store, *more):
        return self.freezer("backup", self.path(tree), "--name", "b", "--host", "h", "--to", "local:" + self.path(store), *more)

    def remove(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)

    def size(self, name):
        """Bytes of the files below a scratch path."""
        path = self.path(name)
        if os.path.isfile(path):
            return os.path.getsize(path)
        return sum(os.lstat(os.path.join(d, f)).st_size for d, _, files in os.walk(path) for f in files)

    def compare(self, what, peers, ours):
        """Rounds of peers and ours by turns. A candidate is (name, prepare, command, shell, result path or None)."""
        candidates = [*peers, ours]
        best = {c[0]: (1e9, 0, 0, 0) for c in candidates}
        for _ in range(self.options["rounds"]):
            for name, prepare, command, shell, result in candidates:
                prepare()
                seconds, cpu, peak = self.run(command, shell)
                if seconds < best[name][0]:
                    best[name] = (seconds, cpu, peak, self.size(result) if result else 0)
        mine = best[ours[0]]
        row = {"what": what, "freezer": values(mine), "peers": {}}
        for name, *_ in peers:
            theirs = best[name]
            row["peers"][name] = dict(
                values(theirs), ratio=round(mine[0] / theirs[0], 3), size_ratio=round(mine[3] / theirs[3], 4) if theirs[3] else None)
        budget = BUDGETS.get(what)
        if budget and peers:
            first = row["peers"][peers[0][0]]["ratio"]
            row["budget"] = {"peer": peers[0][0], "at_most": budget, "met": first <= budget}
        self.rows.append(row)
        print_row(row)


def values(best):
    return {"seconds": round(best[0], 4), "cpu_seconds": round(best[1], 3), "peak_mib": best[2] // 1024, "bytes": best[3]}


def print_row(row):
    mine = row["freezer"]
    print(f"\n{row['what']}")
    print(f"  {'freezer':34} {mine['seconds']:9.3f} s  {mine['cpu_seconds']:8.2f} CPU s  {mine['peak_mib']:5} MiB  {mine['bytes'] / 1e6:9.1f} MB")
    for name, peer in row["peers"].items():
        size = f"  size {peer['size_ratio']:.3f}x" if peer["size_ratio"] else ""
        print(f"  {name:34} {peer['seconds']:9.3f} s  {peer['cpu_seconds']:8.2f} CPU s  {peer['peak_mib']:5} MiB  {peer['bytes'] / 1e6:9.1f} MB"
              f"  -> freezer {peer['ratio']:.2f}x{size}")
    if "budget" in row:
        budget = row["budget"]
        print(f"  budget {budget['at_most']}x of {budget['peer']}: {'met' if budget['met'] else 'MISSED'}")
    sys.stdout.flush()


def nothing():
    """Prepares nothing."""


def have(program):
    return shutil.which(program) is not None


def shout(words):
    print("=" * 79 + f"\n  NOT MEASURED: {words}\n" + "=" * 79, file=sys.stderr)


def pipe(bench, compressor, result):
    return (f"tar -C {bench.path('tree')} -cf - . | {compressor} | "
            f"openssl enc -aes-256-cfb -md sha256 -pass file:{bench.path('pass')} 2>/dev/null > {bench.path(result)}")


def restic(bench, tree):
    def prepare():
        bench.remove("restic")
        bench.run(["restic", "-q", "-r", bench.path("restic"), "init"])
    return ("restic", prepare, ["restic", "-q", "-r", bench.path("restic"), "backup", bench.path(tree)], False, "restic")


def borg(bench, tree):
    def prepare():
        bench.remove("borg")
        bench.run(["borg", "init", "-e", "repokey", bench.path("borg")])
    return ("borg, zlib 6", prepare, ["borg", "create", "-C", "zlib,6", bench.path("borg") + "::a", bench.path(tree)], False, "borg")


def others(bench, tree):
    return ([restic(bench, tree)] if have("restic") else []) + ([borg(bench, tree)] if have("borg") else [])


def full(bench):
    password = ("--encrypt-pass-file", bench.path("pass"))
    for level in ("6", "5"):
        bench.compare(
            f"level 0, gzip -{level}, encrypted",
            [("tar | gzip -6 | openssl", nothing, pipe(bench, "gzip -6", "pipe.gz"), True, "pipe.gz")] + (others(bench, "tree") if level == "6" else []),
            ("freezer", lambda: bench.remove("store"), bench.backup("tree", "store", "--compression", f"gzip:{level}", *password), False, "store/data"))


def zstd(bench):
    password = ("--encrypt-pass-file", bench.path("pass"))
    bench.compare(
        "level 0, zstd -3, encrypted", [("tar | zstd -3 | openssl", nothing, pipe(bench, "zstd -3", "pipe.zst"), True, "pipe.zst")],
        ("freezer", lambda: bench.remove("store"), bench.backup("tree", "store", "--compression", "zstd:3", *password), False, "store/data"))


def many(bench):
    """50 000 small files: nothing changed, then one in a hundred."""
    count = 2000 if bench.options["quick"] else 50000
    tree = bench.path("many")
    for number in range(count):
        directory = os.path.join(tree, str(number // 500), str(number // 50 % 10))
        if number % 50 == 0:
            os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f"file-{number}"), "wb") as f:
            f.write(b"%d\n" % number * 40)
    for name, options in (("clear", ()), ("locked", ("--encrypt-pass-file", bench.path("pass")))):
        bench.run(bench.backup("many", name, *options))
    bench.run(f"tar -C {tree} --format=posix --listed-incremental={bench.path('snar0')} -cf - . | cat > /dev/null", True)
    tar = (f"cp {bench.path('snar0')} {bench.path('snar')}; tar -C {tree} --format=posix --listed-incremental={bench.path('snar')} -cf - . "
           f"| gzip > {bench.path('increment')}")
    incremental = ("tar --listed-incremental | gzip", nothing, tar, True, "increment")
    time.sleep(1.1)  # past the second in which the files were made: no row is racy any more
    for name, options in (("clear", ()), ("locked", ("--encrypt-pass-file", bench.path("pass")))):
        bench.run(bench.backup("many", name, *options))
    bench.compare("no change, 50 000 files", [incremental], ("freezer", nothing, bench.backup("many", "clear"), False, None))
    bench.compare(
        "no change, 50 000 files, with a password", [incremental],
        ("freezer", nothing, bench.backup("many", "locked", "--encrypt-pass-file", bench.path("pass")), False, None))
    bench.run(f"find {tree} -name 'file-*00' -exec sh -c 'for f; do echo changed >> $f; done' sh {{}} +", True)
    bench.compare(
        "1 % of 50 000 files changed", [incremental],
        ("freezer", nothing, bench.backup("many", "clear", "--differential"), False, None))
    bench.remove("many")


def restore(bench):
    password = ("--encrypt-pass-file", bench.path("pass"))
    clear_out = lambda: (bench.remove("out"), os.makedirs(bench.path("out")))
    for name, compressor, plain in (("gzip", "gzip -6", "gzip -d"), ("zstd", "zstd -3", "zstd -dq")):
        bench.remove("store")
        bench.run(bench.backup("tree", "store", "--compression", name, *password))
        bench.run(pipe(bench, compressor, "pipe"), True)
        peers = [(
            f"openssl -d | {plain} | tar -x", clear_out,
            f"openssl enc -d -aes-256-cfb -md sha256 -pass file:{bench.path('pass')} -in {bench.path('pipe')} 2>/dev/null | {plain} | "
            f"tar -C {bench.path('out')} -xpf -", True, None)]
        if name == "gzip" and have("restic"):
            repository = restic(bench, "tree")
            repository[1]()
            bench.run(repository[2])
            peers.append(("restic", clear_out, ["restic", "-q", "-r", bench.path("restic"), "restore", "latest", "--target", bench.path("out")], False, None))
        bench.compare(
            f"full restore, {name}, encrypted", peers,
            ("freezer", clear_out, bench.freezer(
                "restore", "--name", "b", "--host", "h", "--from", "local:" + bench.path("store"), "--target", bench.path("out"), *password), False, None))
    bench.remove("out")


def one(bench):
    """One small file out of the whole backup."""
    password = ("--encrypt-pass-file", bench.path("pass"))
    bench.remove("store")
    bench.run(bench.backup("tree", "store", "--compression", "gzip", *password))
    bench.run(pipe(bench, "gzip -6", "pipe"), True)
    files = sorted(os.path.relpath(os.path.join(d, f), bench.path("tree")) for d, _, fs in os.walk(bench.path("tree")) for f in fs
                   if 0 < os.lstat(os.path.join(d, f)).st_size < 20000 and not os.path.islink(os.path.join(d, f)))
    wanted = files[len(files) // 2]
    bench.compare(
        "one small file", [(
            "openssl -d | gzip -d | tar -x FILE", lambda: (bench.remove("out"), os.makedirs(bench.path("out"))),
            f"openssl enc -d -aes-256-cfb -md sha256 -pass file:{bench.path('pass')} -in {bench.path('pipe')} 2>/dev/null | gzip -d | "
            f"tar -C {bench.path('out')} -xpf - './{wanted}'", True, None)],
        ("freezer", nothing, bench.freezer(
            "dump", "--name", "b", "--host", "h", "--from", "local:" + bench.path("store"), *password, wanted), False, None))


def overhead(bench, what, road, work, login=()):
    """Relates what the sandbox costs `work` = (bytes of a segment, segments) to the seconds of a whole backup."""
    if not os.path.isfile(OVERHEAD):
        shout(f"no {OVERHEAD}: the {what} isn't measured")
        return
    segment, segments = work
    bench.run([OVERHEAD, bench.path("overhead"), PLUGINS, str(segment), str(segments), str(3 * bench.options["rounds"]), *login])
    with open(bench.path("output"), encoding="ascii") as output:
        found = json.load(output)
    bench.remove("overhead")
    cost = found["plugin_seconds"] - found["native_seconds"]
    share = max(cost, 0) / road
    bench.notes.append({
        "what": what, "road_seconds": round(road, 4), "share": round(share, 5), "at_most": 0.01,
        "met": share <= 0.01, "storage_alone": round(found["plugin_seconds"] / found["native_seconds"], 4), **found})
    print(f"\n{what}, {segments} segments: {cost * 1000:.2f} ms of {road:.3f} s = {share:.2%} "
          f"(budget 1 %: {'met' if share <= 0.01 else 'MISSED'})\n"
          f"  storage alone: {found['plugin_seconds']:.4f} s through the plugin, {found['isolated_seconds']:.4f} s with --isolate=all, "
          f"{found['native_seconds']:.4f} s natively")


def plugin(bench):
    """What the sandbox costs a backup: storing its bytes through the component and natively, by turns.

    The road is the fastest one there is, without compression and password, so that the share is the largest possible.
    """
    road = 1e9
    for _ in range(bench.options["rounds"]):
        bench.remove("store")
        road = min(road, bench.run(bench.backup("tree", "store", "--compression", "none"))[0])
    segment = 32 << 20
    segments = max(1, -(-bench.size("store/data") // segment))
    bench.remove("store")
    overhead(bench, "plugin overhead on the road", road, (segment, segments))


def swift(bench):
    """Through storage swift."""
    if have("swift") and have("swift-proxy-server"):
        storages.swift(bench, overhead)
    else:
        shout("Swift isn't installed, so there are no rows over it (tests/setup.sh)")


def ssh(bench):
    """Through storage ssh."""
    if os.geteuid() == 0 and shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"]):
        storages.ssh(bench)
    else:
        shout("sshd isn't installed or this isn't root, so there are no rows over SSH")


def limits(bench):
    """How exactly bandwidth is limited."""
    if have("swift-proxy-server") and os.geteuid() == 0 and shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"]):
        storages.limits(bench)
    else:
        shout("Swift or sshd isn't installed or this isn't root, so limits of bandwidth aren't measured (tests/setup.sh)")


def start(bench):
    """What a command costs before it does anything."""
    bench.remove("store")
    bench.run(bench.backup("tree", "store", "--compression", "zstd"))
    for what, command, limit in (
        ("freezer --version", [FREEZER, "--version"], 10), ("freezer list, plugins cached", bench.freezer("list", "--from", "local:" + bench.path("store")), 60)):
        best = min(bench.run(command)[0] for _ in range(10)) * 1000
        bench.notes.append({"what": what, "milliseconds": round(best, 1), "at_most": limit, "met": best <= limit})
        print(f"\n{what}: {best:.1f} ms (budget {limit} ms: {'met' if best <= limit else 'MISSED'})")


    plugins_of_strangers(bench)
    load(bench)


def plugins_of_strangers(bench):
    """A command with one plugin installed, and the same with ten, of which two are as large as those in Python."""
    def installation(name, plugins):
        directory = bench.path(name, "lib/freezer/plugins")
        os.makedirs(directory)
        shutil.copy(FREEZER, bench.path(name, "freezer"))
        for plugin in plugins:
            shutil.copy(os.path.join(PLUGINS, plugin), directory)
        return directory

    own = sorted(name for name in os.listdir(PLUGINS) if name.endswith(".wasm"))
    installation("one", ["local.wasm"])
    ten = installation("ten", own)
    for number in range(10 - len(own)):
        with open(os.path.join(PLUGINS, "s3.wasm"), "rb") as f:
            component = f.read()
        content = b"\x03pad" + bytes(18 << 20)  # a custom section, which makes it another component
        length = bytes([len(content) >> s & 0x7F | 0x80 for s in (0, 7, 14, 21)] + [len(content) >> 28])
        with open(os.path.join(ten, f"stranger-{number}.wasm"), "wb") as f:
            f.write(component + b"\0" + length + content)
    time.sleep(2.5)  # past the time in which files are too young to be known
    words = ["list", "--from", "local:" + bench.path("store"), "--quiet"]
    for name in ("one", "ten", "one", "ten"):
        bench.run([bench.path(name, "freezer"), *words])
        time.sleep(1.1)
    bench.compare(
        "list, 10 plugins installed", [("1 plugin installed", nothing, [bench.path("one", "freezer"), *words], False, None)],
        ("freezer", nothing, [bench.path("ten", "freezer"), *words], False, None))
    bench.remove("one")
    bench.remove("ten")


def load(bench):
    """What it costs to begin with a plugin, and to call one."""
    if not os.path.isfile(LOAD):
        shout(f"no {LOAD}: loading plugins isn't measured")
        return
    os.makedirs(bench.path("load"))
    bench.run([LOAD, bench.path("load"), PLUGINS, str(3 * bench.options["rounds"])])
    with open(bench.path("output"), encoding="ascii") as output:
        found = json.load(output)
    bench.remove("load")
    bench.notes.append({"what": "loading a plugin", **found})
    print(f"\nloading storage local: {found['compile_seconds'] * 1000:.1f} ms with compiling, {found['load_seconds'] * 1000:.1f} ms compiled before, "
          f"{found['open_seconds'] * 1e6:.0f} us one more instance; a call {found['call_seconds'] * 1e6:.1f} us, natively {found['native_call_seconds'] * 1e6:.1f} us")


def memory(bench):
    """Peak resident memory at three sizes."""
    sizes = (1, 2, 4) if bench.options["quick"] else (10, 100, 1000)
    print("\npeak memory (budget 128 MiB)")
    for mib in sizes:
        bench.remove("grown")
        os.makedirs(bench.path("grown"))
        for number in range(mib):
            with open(bench.path("grown", str(number)), "wb") as f:
                f.write(os.urandom(512 << 10) + b"text that compresses " * ((512 << 10) // 21))
        for compression in ("gzip", "zstd"):
            bench.remove("store")
            backup = bench.run(bench.backup("grown", "store", "--compression", compression, "--encrypt-pass-file", bench.path("pass")))[2] // 1024
            bench.remove("out")
            back = bench.run(bench.freezer(
                "restore", "--name", "b", "--host", "h", "--from", "local:" + bench.path("store"), "--target", bench.path("out"),
                "--encrypt-pass-file", bench.path("pass")))[2] // 1024
            bench.memory.append({"size_mib": mib, "compression": compression, "backup_mib": backup, "restore_mib": back, "met": max(backup, back) <= 128})
            print(f"  {mib:5} MiB, {compression:5}: backup {backup:4} MiB, restore {back:4} MiB")
    for name in ("grown", "out", "store"):
        bench.remove(name)


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "not installed"


def machine(bench):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), platform.machine())
    memory_kib = int(open("/proc/meminfo", encoding="ascii").readline().split()[1])
    count = sum(len(d) + len(f) for _, d, f in os.walk(bench.path("tree")))
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "processor": model, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
        "memory_gib": round(memory_kib / 2**20, 1), "kernel": platform.release(), "scratch": bench.scratch.rsplit("/", 1)[0],
        "tree": bench.options["tree"], "entries": count, "bytes": bench.size("tree"), "rounds": bench.options["rounds"],
        "freezer": first_line(FREEZER, "--version"), "tar": first_line("tar", "--version"), "gzip": first_line("gzip", "--version"),
        "zstd": first_line("zstd", "--version"), "openssl": first_line("openssl", "version"), "restic": first_line("restic", "version"),
        "borg": first_line("borg", "--version"), "rclone": first_line("rclone", "version"), "swift": first_line("swift", "--version"),
    }


def parse(words):
    options = {"tree": "/usr/share", "rounds": 3, "quick": False, "json": None, "only": None}
    rest = iter(words)
    for word in rest:
        if word == "--quick":
            options.update(quick=True, rounds=1, tree="/usr/include")
        elif word == "--rounds":
            options["rounds"] = int(next(rest))
        elif word in ("--tree", "--json"):
            options[word[2:]] = next(rest)
        elif word == "--only":
            options["only"] = next(rest).split(",")
        else:
            sys.exit(__doc__)
    return options


def main():
    options = parse(sys.argv[1:])
    if not os.path.isfile(FREEZER):
        sys.exit(f"bench: no {FREEZER}: run `make build` first")
    bench = Bench(options)
    try:
        subprocess.run(["cp", "-a", "-T", options["tree"], bench.path("tree")], check=True)
        facts = machine(bench)
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            print(f"{name:{width}}  {value}")
        for peer in ("restic", "borg", "rclone"):
            if not have(peer):
                shout(f"{peer} isn't installed, so there are no rows against it (tests/setup.sh bench)")
        if not os.listdir(bench.path("tree")):
            sys.exit("bench: the tree is empty")
        bench.run(bench.backup("tree", "warm", "--compression", "none"))  # compiles and caches the plugins
        bench.remove("warm")
        for part in (full, zstd, many, restore, one, plugin, swift, ssh, limits, start, memory):
            if options["only"] is None or part.__name__ in options["only"]:
                part(bench)
        document = {"machine": facts, "rows": bench.rows, "start": bench.notes, "limits": bench.limits, "memory": bench.memory}
        if options["json"]:
            with open(options["json"], "w", encoding="ascii") as f:
                json.dump(document, f, indent=1)
                f.write("\n")
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
