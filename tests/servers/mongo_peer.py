#!/usr/bin/env python3
"""Plays a MongoDB server for what no server at hand can do: fsyncLock, members of replica sets, and lies.

    mongo_peer.py DIR PORT DATADIR      listens on 127.0.0.1:PORT

From the environment:
    ROLE    primary (default), secondary, arbiter, router, standalone: what `hello` answers
    AUTH    yes: user freezer must log in by SCRAM-SHA-256, or by SCRAM-SHA-1 with AUTH=sha1; the password is `secret`
    TLS     yes: with DIR/server.pem
    HIDE    yes: doesn't tell where its data lies
    SIN     length, opcode, id, more, kind, document: breaks that part of its first answer; flood, stall, close: instead of it;
            fsync-stall: never answers the request for the lock, and takes it

DIR/locks holds how often it is locked, DIR/commands the names of the commands it got. It writes nothing anywhere: what stays
whole under its lock is what the test leaves alone.
"""

import base64
import hashlib
import hmac
import os
import socketserver
import ssl
import struct
import sys
import threading
import time

import bson

DIRECTORY, PORT, DATA = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ROLE, AUTH, SIN = (os.environ.get(name, "") for name in ("ROLE", "AUTH", "SIN"))
HELLO = {
    "secondary": {"isWritablePrimary": False, "secondary": True, "setName": "rs0", "me": "here:1", "primary": "other.example:27017"},
    "arbiter": {"isWritablePrimary": False, "arbiterOnly": True, "setName": "rs0", "me": "here:1", "primary": "other.example:27017"},
    "router": {"isWritablePrimary": True, "msg": "isdbgrid"},
    "standalone": {"isWritablePrimary": True},
}.get(ROLE, {"isWritablePrimary": True, "setName": "rs0", "me": "here:1", "primary": "here:1"})
MUTEX = threading.Lock()


def locks(change=0):
    path = os.path.join(DIRECTORY, "locks")
    with MUTEX:
        try:
            with open(path) as file:
                count = int(file.read() or 0)
        except FileNotFoundError:
            count = 0
        if change:
            count += change
            with open(path + ".new", "w") as file:
                file.write(str(count))
            os.rename(path + ".new", path)
        return count


def failed(code, words):
    return {"ok": 0.0, "errmsg": words, "code": code}


class Scram:
    """The server's side of one login, by RFC 5802 as MongoDB uses it."""

    def __init__(self, mechanism):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
        password = b"secret"
        if self.hash == "sha1":
            password = hashlib.md5(b"freezer:mongo:secret").hexdigest().encode()
        self.salt, self.rounds = b"sixteen of salt!", 15000
        self.salted = hashlib.pbkdf2_hmac(self.hash, password, self.salt, self.rounds)

    def sign(self, key, text):
        return hmac.new(key, text, self.hash).digest()

    def begin(self, message):
        header, self.first = message[:3], message[3:]
        assert header == "n,,", header
        fields = dict(field.split("=", 1) for field in self.first.split(","))
        if fields["n"] != "freezer":
            return None
        self.nonce = fields["r"] + "server"
        self.own = f"r={self.nonce},s={base64.b64encode(self.salt).decode()},i={self.rounds}"
        return self.own

    def end(self, message):
        without, proof = message.split(",p=")
        if without != f"c=biws,r={self.nonce}":
            return None
        signed = f"{self.first},{self.own},{without}".encode()
        key = self.sign(self.salted, b"Client Key")
        signature = self.sign(hashlib.new(self.hash, key).digest(), signed)
        if base64.b64decode(proof) != bytes(one ^ other for one, other in zip(key, signature)):
            return None
        server = self.sign(self.sign(self.salted, b"Server Key"), signed)
        return "v=" + base64.b64encode(server).decode()


class Session(socketserver.StreamRequestHandler):
    scram = None
    known = not AUTH

    def handle(self):
        try:
            while header := self.rfile.read(16):
                length, request, _, _ = struct.unpack("<iiii", header)
                command = bson.decode(self.rfile.read(length - 16)[5:])
                with MUTEX, open(os.path.join(DIRECTORY, "commands"), "a") as file:
                    file.write(next(iter(command)) + "\n")
                self.send(request, self.answer(command))
        except (ConnectionError, ssl.SSLError):
            pass

    def send(self, request, answer):
        document = bson.encode(answer)
        parts = {"length": 21 + len(document), "id": request, "opcode": 2013, "flags": 0, "kind": 0}
        parts.update({"length": {"length": 0x7FFFFFFF}, "opcode": {"opcode": 1}, "id": {"id": request + 1}, "more": {"flags": 2},
                      "kind": {"kind": 1}}.get(SIN, {}))
        if SIN == "document":
            document = b"\xff\xff\xff\x7f" + document[4:]
        if SIN == "stall":
            time.sleep(3600)
        if SIN == "close":
            self.connection.shutdown(2)
            return
        framed = struct.pack("<iiiiIB", parts["length"], 1, parts["id"], parts["opcode"], parts["flags"], parts["kind"])
        while SIN == "flood":
            self.wfile.write(b"\x7f" * 65536)
        self.wfile.write(framed + document)

    def answer(self, command):
        name = next(iter(command))
        if name in ("hello", "isMaster", "ismaster"):
            offered = {"saslSupportedMechs": ["SCRAM-SHA-1" if AUTH == "sha1" else "SCRAM-SHA-256"]} if AUTH else {}
            return {**HELLO, **offered, "minWireVersion": 0, "maxWireVersion": 21, "ok": 1.0}
        if name in ("saslStart", "saslContinue"):
            return self.log_in(command)
        if not self.known:
            return failed(13, f"Command {name} requires authentication")
        if name == "buildInfo":
            return {"version": "7.0.0", "ok": 1.0}
        if name == "getCmdLineOpts":
            return {"parsed": {} if os.environ.get("HIDE") else {"storage": {"dbPath": DATA}}, "ok": 1.0}
        if name == "currentOp":
            return {"inprog": [], **({"fsyncLock": True} if locks() else {}), "ok": 1.0}
        if name == "fsync" and command.get("lock"):
            count = locks(1)
            if SIN == "fsync-stall":
                time.sleep(3600)
            return {"lockCount": bson.Int64(count), "ok": 1.0}
        if name == "fsyncUnlock":
            if locks() == 0:
                return failed(20, "fsyncUnlock called when not locked")
            return {"lockCount": bson.Int64(locks(-1)), "ok": 1.0}
        return failed(59, f"no such command: '{name}'")

    def log_in(self, command):
        message = bytes(command["payload"]).decode()
        if "saslStart" in command:
            self.scram = Scram(command["mechanism"])
            told, done = self.scram.begin(message), False
        else:
            told, done = self.scram.end(message), True
        if told is None:
            return failed(18, "Authentication failed.")
        self.known = self.known or done
        return {"conversationId": 1, "done": done, "payload": told.encode(), "ok": 1.0}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def get_request(self):
        stream, address = super().get_request()
        if os.environ.get("TLS"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(DIRECTORY, "server.pem"), os.path.join(DIRECTORY, "server.key"))
            # The handshake is made by the thread of the session.
            stream = context.wrap_socket(stream, server_side=True, do_handshake_on_connect=False)
        return stream, address

    def handle_error(self, request, client_address):
        # A handshake that a test breaks is no news.
        pass


Server(("127.0.0.1", PORT), Session).serve_forever()
