//! A scripted server behind the fake host: replica sets, fsyncLock and SCRAM, as MongoDB answers.

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::raw::RawDocumentBuf;
use bson::spec::BinarySubtype;
use bson::{Binary, RawDocument, rawdoc};
use freezer_sdk::testing::FakeHost;
use hmac::{Hmac, KeyInit, Mac};
use md5::Digest;

use crate::message::frame;

/// What the server is, and what it saw.
#[derive(Default)]
pub(crate) struct State {
    /// Names of commands, in order.
    pub(crate) commands: Vec<String>,
    /// How often it is locked.
    pub(crate) locks: i32,
    /// Commands that are refused: name, code, words.
    pub(crate) refused: Vec<(&'static str, i32, &'static str)>,
    /// What `hello` answers.
    pub(crate) hello: RawDocumentBuf,
    /// The password of user `freezer`.
    pub(crate) password: Option<&'static str>,
    /// The one mechanism it offers.
    pub(crate) sha1: bool,
    /// How often the password is hashed.
    pub(crate) rounds: u32,
    /// How a hostile server ends the login.
    pub(crate) sin: Sin,
    /// Questions for the lock until a waiting request comes through.
    pub(crate) waiting: u32,
    login: Option<Login>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sin {
    #[default]
    None,
    /// Proves nothing.
    WrongProof,
    /// Says it is done without a proof.
    NoProof,
    /// Answers the user's own nonce only.
    NoNonce,
    /// Never ends.
    Endless,
}

struct Login {
    messages: String,
    proof: Vec<u8>,
}

/// Puts one in place that is the primary of rs0 and needs no login.
pub(crate) fn serve(host: &FakeHost) -> Rc<RefCell<State>> {
    let state = Rc::new(RefCell::new(State {
        hello: rawdoc! { "isWritablePrimary": true, "setName": "rs0", "me": "db:27017", "primary": "db:27017" },
        rounds: 15_000,
        ..State::default()
    }));
    let answering = Rc::clone(&state);
    host.serve_tcp(move |bytes| {
        let command = RawDocumentBuf::from_bytes(bytes[21..].to_vec()).unwrap();
        let answer = answering.borrow_mut().answer(&command);
        let mut framed = frame(1, &answer);
        framed[8..12].copy_from_slice(&bytes[4..8]);
        Ok(framed)
    });
    state
}

impl State {
    fn answer(&mut self, command: &RawDocument) -> RawDocumentBuf {
        let (name, _) = command.iter().next().unwrap().unwrap();
        let name = name.to_string();
        self.commands.push(name.clone());
        if let Some((_, code, words)) = self.refused.iter().find(|(refused, ..)| *refused == name) {
            return rawdoc! { "ok": 0.0, "errmsg": *words, "code": *code };
        }
        match name.as_str() {
            "hello" | "isMaster" => {
                let mut hello = self.hello.clone();
                if self.password.is_some() {
                    assert_eq!(command.get_str("saslSupportedMechs").unwrap(), "admin.freezer");
                    let offered = if self.sha1 { "SCRAM-SHA-1" } else { "SCRAM-SHA-256" };
                    hello.append(bson::raw::cstr!("saslSupportedMechs"), bson::rawbson!([offered]));
                }
                hello.append(bson::raw::cstr!("ok"), 1.0);
                hello
            }
            "buildInfo" => rawdoc! { "version": "7.0.14", "ok": 1.0 },
            "getCmdLineOpts" => {
                rawdoc! { "parsed": { "storage": { "dbPath": "/var/lib/mongodb/" } }, "ok": 1.0 }
            }
            "fsync" => {
                assert!(command.get_bool("lock").unwrap());
                self.locks += 1;
                rawdoc! { "lockCount": self.locks, "ok": 1.0 }
            }
            "fsyncUnlock" if self.locks == 0 => {
                rawdoc! { "ok": 0.0, "errmsg": "fsyncUnlock called when not locked", "code": 20 }
            }
            "fsyncUnlock" => {
                self.locks -= 1;
                rawdoc! { "lockCount": self.locks, "ok": 1.0 }
            }
            "currentOp" => self.current(),
            "saslStart" => self.begin(command),
            "saslContinue" => self.go_on(command),
            other => rawdoc! { "ok": 0.0, "errmsg": format!("no such command: '{other}'"), "code": 59 },
        }
    }

    fn current(&mut self) -> RawDocumentBuf {
        if self.waiting > 0 {
            self.waiting -= 1;
            if self.waiting == 0 {
                self.locks += 1;
            }
            return rawdoc! { "inprog": [ { "op": "hello" }, { "op": "command", "command": { "fsync": 1, "lock": true } } ], "ok": 1.0 };
        }
        let mut answer = rawdoc! { "inprog": [ { "command": { "currentOp": 1 } } ], "ok": 1.0 };
        if self.locks > 0 {
            answer.append(bson::raw::cstr!("fsyncLock"), true);
        }
        answer
    }

    fn begin(&mut self, command: &RawDocument) -> RawDocumentBuf {
        let mechanism = if self.sha1 { "SCRAM-SHA-1" } else { "SCRAM-SHA-256" };
        assert_eq!(command.get_str("mechanism").unwrap(), mechanism);
        let first = payload(command);
        let bare = first.strip_prefix("n,,").unwrap();
        let nonce = bare.split_once(",r=").unwrap().1;
        assert!(bare.starts_with("n=freezer,") && nonce.len() >= 18, "{bare}");
        let more = if self.sin == Sin::NoNonce { "" } else { "server" };
        let server = format!(
            "r={nonce}{more},s={},i={}",
            STANDARD.encode("0123456789abcdef"),
            self.rounds
        );
        self.login = Some(Login {
            messages: format!("{bare},{server}"),
            proof: Vec::new(),
        });
        told(&server, false)
    }

    fn go_on(&mut self, command: &RawDocument) -> RawDocumentBuf {
        let message = payload(command);
        if self.sin == Sin::Endless {
            return told("e=again", false);
        }
        let login = self.login.as_mut().unwrap();
        let (without, proof) = message.split_once(",p=").unwrap();
        let signed = format!("{},{without}", login.messages);
        let salt = b"0123456789abcdef";
        let password = self.password.unwrap();
        let (client, server) = if self.sha1 {
            let digest = hex::encode(md5::Md5::digest(format!("freezer:mongo:{password}")));
            let mut salted = [0; 20];
            pbkdf2::pbkdf2_hmac::<sha1::Sha1>(digest.as_bytes(), salt, self.rounds, &mut salted);
            let key = sign1(&salted, b"Client Key");
            let signature = sign1(&sha1::Sha1::digest(&key), signed.as_bytes());
            (
                xor(&key, &signature),
                sign1(&sign1(&salted, b"Server Key"), signed.as_bytes()),
            )
        } else {
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.as_bytes(), salt, self.rounds, &mut salted);
            let key = sign256(&salted, b"Client Key");
            let signature = sign256(&sha2::Sha256::digest(&key), signed.as_bytes());
            (
                xor(&key, &signature),
                sign256(&sign256(&salted, b"Server Key"), signed.as_bytes()),
            )
        };
        login.proof = server;
        if STANDARD.encode(client) != proof {
            return rawdoc! { "ok": 0.0, "errmsg": "Authentication failed.", "code": 18 };
        }
        match self.sin {
            Sin::NoProof => told("", true),
            Sin::WrongProof => told("v=AAAA", true),
            _ => told(&format!("v={}", STANDARD.encode(&login.proof)), true),
        }
    }
}

fn payload(command: &RawDocument) -> String {
    String::from_utf8(command.get_binary("payload").unwrap().bytes.to_vec()).unwrap()
}

fn told(payload: &str, done: bool) -> RawDocumentBuf {
    let payload = Binary {
        subtype: BinarySubtype::Generic,
        bytes: payload.as_bytes().to_vec(),
    };
    rawdoc! { "conversationId": 1, "done": done, "payload": payload, "ok": 1.0 }
}

fn sign1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn sign256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}
