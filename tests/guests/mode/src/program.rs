//! Any sequence of the calls that modes alone may make: frozen views and leftovers, mixed up with waiting and cancelling.

use std::time::Duration;

use freezer_sdk::error::Result;
use freezer_sdk::host::leftovers::Leftover;
use freezer_sdk::host::snapshots::{Field, Snapshot};
use freezer_sdk::host::{bodies, control, leftovers, snapshots};

/// Paths and options that a program chooses from, good ones and bad ones.
const WORDS: [&str; 10] = [
    "",
    "/",
    "/srv",
    "/srv/..",
    "relative",
    "type",
    "none",
    "lvm",
    "a\0b",
    "\u{1b}[2J",
];

/// What a program holds.
#[derive(Default)]
struct Machine {
    snapshots: Vec<Snapshot>,
    leftovers: Vec<Leftover>,
}

/// Runs the calls that `hex` stands for; what fails is no reason to end.
pub(crate) fn run(hex: &str) {
    let digits =
        |place: usize| u8::from_str_radix(hex.get(place..place + 2).unwrap_or("00"), 16).unwrap_or(0);
    let program: Vec<u8> = (0..hex.len() / 2).map(|number| digits(number * 2)).collect();
    let mut machine = Machine::default();
    for call in program.chunks(3) {
        let argument = |place: usize| call.get(place).copied().unwrap_or(0);
        drop(machine.step(argument(0), argument(1), argument(2)));
    }
}

fn word(number: u8) -> &'static str {
    WORDS[usize::from(number) % WORDS.len()]
}

impl Machine {
    fn step(&mut self, call: u8, one: u8, other: u8) -> Result<()> {
        match call % 8 {
            0 | 1 => {
                let undo = word(other).repeat(usize::from(other) * 8);
                self.leftovers.push(leftovers::announce(word(one), &undo)?);
            }
            2 => {
                let count = self.leftovers.len().max(1);
                if let Some(leftover) = self.leftovers.get(usize::from(one) % count) {
                    leftover.settle()?;
                }
            }
            3 | 4 => {
                let option = Field {
                    name: word(other).to_owned(),
                    value: word(one).to_owned(),
                };
                let options = [option.clone(), option];
                let options = &options[..usize::from(other) % 3];
                self.snapshots.push(snapshots::create(word(one), options)?);
            }
            5 => {
                if let Some(snapshot) = self.snapshots.pop() {
                    control::progress(&format!("{}{}", snapshot.path(), snapshot.description()), None);
                }
            }
            6 => control::wait(Duration::from_millis(u64::from(one) % 4))?,
            _ => {
                let body = bodies::Body::from_bytes(&vec![7; usize::from(one)])?;
                control::warning(format!("{:?}", body.size()));
            }
        }
        Ok(())
    }
}
