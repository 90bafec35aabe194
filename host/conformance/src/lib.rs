//! What every plugin must do, rule by rule, as `wit/` says it: the one suite that the plugins of this workspace are held to, and
//! by `freezer plugin test` those of anybody else.
//!
//! A rule works on what the host opened and knows no plugin: the real component answers through the real host. It says the first thing
//! that is wrong in words. What a subject honestly can't do is a rule skipped with its reason, never one that passes.

pub mod storage;
pub mod mode;

use std::fmt;
use std::sync::Arc;

use freezer_plugin::Fault;

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Kept,
    /// It doesn't, and why.
    Broken(String),
    /// It wasn't tried, and why.
    Skipped(String),
}

/// What a rule answers: nothing, or the first thing that is wrong, in words.
pub(crate) type Outcome = Result<(), String>;

/// Host calls that are broken one after the other; more than any plugin makes for what is tried.
const MOST_BROKEN_CALLS: u64 = 2000;

/// Tries something with its first host call broken, then its second, and so on, until a trial makes no more calls.
fn break_each_call(rule: &'static str, mut trial: impl FnMut(&Arc<Fault>) -> Outcome) -> Finding {
    let mut finding = Finding::new(rule, Answer::Kept);
    for position in 0..MOST_BROKEN_CALLS {
        let fault = Fault::at(position);
        let outcome = trial(&fault);
        let broken = match fault.struck() {
            true => format!("when host call {} of it is broken off, ", position + 1),
            false => String::new(),
        };
        if let Err(why) = outcome {
            finding.answer = Answer::Broken(format!("{broken}{why}"));
            return finding;
        }
        if !fault.struck() {
            match position {
                0 => finding.answer = Answer::Skipped("it makes no host call that can be broken".to_owned()),
                calls => finding.detail = format!("each of {calls} host calls broken once"),
            }
            return finding;
        }
    }
    finding.answer = Answer::Broken(format!("it makes more than {MOST_BROKEN_CALLS} host calls"));
    finding
}

/// A rule and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule: a fact about every plugin of this kind, its words joined by `_`.
    pub rule: &'static str,
    /// What became of it.
    pub answer: Answer,
    /// What else is worth telling, in a few words; empty if nothing.
    pub detail: String,
}

impl Finding {
    fn new(rule: &'static str, answer: Answer) -> Self {
        Self {
            rule,
            answer,
            detail: String::new(),
        }
    }

    /// The rule's name in words.
    #[must_use]
    pub fn words(&self) -> String {
        self.rule.replace("_s_", "'s ").replace('_', " ")
    }

    /// True if the rule doesn't hold.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.answer, Answer::Broken(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Answer::Kept => write!(out, "{}", self.rule),
            Answer::Broken(why) | Answer::Skipped(why) => write!(out, "{}: {why}", self.rule),
        }
    }
}
