#!/usr/bin/env python3
"""A Keystone that lets everybody in, on a free port of the loopback.

    fake_keystone.py        prints the port, then serves until its standard input is closed

The original's agent logs in before every action, even for local storage; this is all it needs for that.
"""
import http.server
import json
import sys
import threading

VERSION = {"id": "v3.14", "status": "stable", "media-types": []}


def token(port):
    """The answer to a login: one project, one role, a catalogue of the services the agent asks for."""
    services = [
        ("identity", "keystone", "v3"), ("object-store", "swift", "v1"), ("compute", "nova", "v2.1"), ("image", "glance", "v2"),
        ("volumev3", "cinderv3", "v3"), ("block-storage", "cinder", "v3"), ("network", "neutron", "v2.0"), ("backup", "freezer", "v2"),
    ]
    catalog = [
        {
            "id": name, "name": name, "type": kind,
            "endpoints": [
                {"id": name + face, "interface": face, "region": "R", "region_id": "R", "url": f"http://127.0.0.1:{port}/{name}/{version}"}
                for face in ("public", "internal", "admin")
            ],
        }
        for kind, name, version in services
    ]
    domain = {"id": "default", "name": "Default"}
    return {
        "token": {
            "methods": ["password"], "audit_ids": ["a"], "is_domain": False, "catalog": catalog,
            "issued_at": "2020-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "user", "domain": domain}, "project": {"id": "p", "name": "project", "domain": domain},
            "roles": [{"id": "r", "name": "admin"}],
        }
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers versions on GET and a token on POST."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, document, headers=()):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        """Which versions there are."""
        version = dict(VERSION, links=[{"rel": "self", "href": f"http://127.0.0.1:{self.server.server_port}/v3/"}])
        self.answer(200, {"version": version} if self.path.startswith("/v3") else {"versions": {"values": [version]}})

    def do_POST(self):
        """A login."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(201, token(self.server.server_port), [("X-Subject-Token", "token")])

    do_HEAD = do_GET

    def log_message(self, *_):
        """Says nothing."""


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
