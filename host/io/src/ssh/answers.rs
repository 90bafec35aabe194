//! Which answers of an SFTP server are on their way, and those that came before they were fetched.
//!
//! A server answers each request once, in any order. What it sends beyond that is taken from nobody, so that it can't fill the memory.

use std::collections::{BTreeMap, BTreeSet};

use super::packet::Reply;

/// The answers to one connection's requests.
#[derive(Default)]
pub(super) struct Answers {
    /// Requests without an answer yet.
    expected: BTreeSet<u32>,
    /// Answers that nobody has fetched yet.
    arrived: BTreeMap<u32, Reply>,
    /// Requests without an answer yet that nobody will fetch.
    abandoned: BTreeSet<u32>,
}

impl Answers {
    /// Notes that a request was sent.
    pub(super) fn expect(&mut self, number: u32) {
        self.expected.insert(number);
    }

    /// Takes up what came; false if nobody asked for it, or it was answered before.
    #[must_use]
    pub(super) fn arrived(&mut self, number: u32, reply: Reply) -> bool {
        if self.expected.remove(&number) {
            self.arrived.insert(number, reply);
            return true;
        }
        self.abandoned.remove(&number)
    }

    /// The answer to a request, once it has come.
    pub(super) fn fetch(&mut self, number: u32) -> Option<Reply> {
        self.arrived.remove(&number)
    }

    /// Notes that nobody will fetch this answer.
    pub(super) fn abandon(&mut self, number: u32) {
        if self.arrived.remove(&number).is_none() && self.expected.remove(&number) {
            self.abandoned.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply {
        Reply::Extended(vec![7])
    }

    #[test]
    fn answers_come_in_any_order_and_are_fetched_once() {
        let mut answers = Answers::default();
        answers.expect(1);
        answers.expect(2);
        assert!(answers.arrived(2, reply()));
        assert!(answers.fetch(1).is_none());
        assert!(answers.arrived(1, reply()));
        assert!(answers.fetch(1).is_some() && answers.fetch(2).is_some());
        assert!(answers.fetch(1).is_none());
    }

    #[test]
    fn what_nobody_asked_for_is_never_kept() {
        let mut answers = Answers::default();
        assert!(!answers.arrived(1, reply()));
        answers.expect(1);
        assert!(answers.arrived(1, reply()));
        assert!(!answers.arrived(1, reply()), "a second answer to one request");
        assert!(answers.fetch(1).is_some());
        assert!(
            !answers.arrived(1, reply()),
            "an answer to what was answered and fetched"
        );
        assert!(answers.arrived.is_empty());
    }

    #[test]
    fn what_nobody_fetches_may_come_once() {
        let mut answers = Answers::default();
        answers.expect(1);
        answers.abandon(1);
        assert!(answers.arrived(1, reply()));
        assert!(!answers.arrived(1, reply()));
        answers.abandon(9);
        assert!(!answers.arrived(9, reply()), "it was never asked");
        assert!(answers.arrived.is_empty() && answers.abandoned.is_empty() && answers.expected.is_empty());
    }
}
