#!/usr/bin/env python3
"""Runs a program and reports what it cost.

    peak.py REPORT.json PROGRAM [ARGUMENT…]

Writes peak_kib (resident memory), seconds, user, system and code, and ends with the program's exit code.
"""
import json
import os
import sys
import time


def main():
    report, command = sys.argv[1], sys.argv[2:]
    begun = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w", encoding="ascii") as f:
        json.dump({
            "peak_kib": usage.ru_maxrss, "seconds": time.monotonic() - begun,
            "user": usage.ru_utime, "system": usage.ru_stime, "code": code,
        }, f)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
