//! How much of processors and disks this process, and all it starts, may take from others.
//!
//! Linux keeps both per thread and hands them on to threads and children made later: so it is set before any is made.

use std::io;

/// The scheduling class of reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// Before everybody; only root may. Level 0 (first) to 7.
    Realtime(u8),
    /// Among equals. Level 0 (first) to 7.
    BestEffort(u8),
    /// Only when nobody else wants the disk.
    Idle,
}

/// What to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// -20 (first) to 19, absolute.
    pub nice: Option<i32>,
    /// Of reads and writes.
    pub io: Option<IoClass>,
}

impl Priority {
    /// What the original means by the highest: nice -19 and the first level of the realtime class.
    pub const HIGHEST: Self = Self {
        nice: Some(-19),
        io: Some(IoClass::Realtime(0)),
    };
}

/// `IOPRIO_CLASS_SHIFT` of linux/ioprio.h.
const CLASS_SHIFT: u32 = 13;
/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h.
const WHO_PROCESS: libc::c_int = 1;

impl IoClass {
    /// The number that the kernel takes.
    fn number(self) -> libc::c_int {
        let (class, level) = match self {
            Self::Realtime(level) => (1, level),
            Self::BestEffort(level) => (2, level),
            Self::Idle => (3, 0),
        };
        class << CLASS_SHIFT | libc::c_int::from(level)
    }
}

impl std::fmt::Display for IoClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Realtime(level) => write!(f, "realtime:{level}"),
            Self::BestEffort(level) => write!(f, "best-effort:{level}"),
            Self::Idle => f.write_str("idle"),
        }
    }
}

/// Sets it for the calling thread and all that it makes from now on. Answers what the system refused, to be said: a run
/// at another priority is a run all the same.
#[must_use]
pub fn set_priority(priority: Priority) -> Vec<String> {
    let mut refused = Vec::new();
    let mut note = |what: String, result: io::Result<()>| {
        if let Err(error) = result {
            let why = match error.raw_os_error() {
                Some(libc::EACCES | libc::EPERM) => "this user may not raise priorities".to_owned(),
                _ => error.to_string(),
            };
            refused.push(format!("{what} isn't set: {why}; going on without"));
        }
    };
    if let Some(nice) = priority.nice {
        let result = rustix::process::setpriority_process(None, nice).map_err(io::Error::from);
        note(format!("priority nice {nice}"), result);
    }
    if let Some(class) = priority.io {
        note(format!("priority ionice {class}"), set_io_class(class));
    }
    refused
}

#[expect(unsafe_code, reason = "no safe binding of ioprio_set is maintained")]
fn set_io_class(class: IoClass) -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class.number()) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_what_it_starts_run_at_the_priority() {
        let thread = std::thread::spawn(|| {
            let refused = set_priority(Priority {
                nice: Some(15),
                io: Some(IoClass::Idle),
            });
            assert_eq!(refused, [""; 0]);
            let shown = std::process::Command::new("sh")
                .args(["-c", "nice; ionice"])
                .output();
            String::from_utf8(shown.expect("sh").stdout).expect("text")
        });
        assert_eq!(thread.join().expect("no panic"), "15\nidle\n");
    }

    #[test]
    fn classes_have_the_kernel_s_numbers() {
        assert_eq!(IoClass::Realtime(0).number(), 0x2000);
        assert_eq!(IoClass::BestEffort(7).number(), 0x4007);
        assert_eq!(IoClass::Idle.number(), 0x6000);
    }
}
