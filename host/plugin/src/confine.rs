//! What takes a process all rights but to compute, to read what it was given and to write its answers.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What a program does that computes with threads. Anything else is answered as if the kernel didn't know it.
const ALLOWED: [libc::c_long; 20] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
];

/// Closes the descriptors from `first` to `last`: whoever started freezer may have left some open. For a process in which
/// nothing owns one of them.
#[expect(unsafe_code, reason = "no safe binding of close_range is maintained")]
pub(crate) fn close_descriptors(first: u32, last: u32) -> Result<(), String> {
    // SAFETY: the callers run alone in a process that they know: nothing in it owns a descriptor of these.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    match result {
        0 => Ok(()),
        _ => Err(format!("can't close descriptors: {}", io::Error::last_os_error())),
    }
}

/// Leaves signals to whoever started this process: a terminal and a service manager mean them all at once, and what is stopped in
/// order needs its processes until it is done.
#[expect(unsafe_code, reason = "no safe binding of signal is maintained")]
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What is left to a process.
pub(crate) struct Rights {
    /// Address space.
    pub(crate) memory_bytes: u64,
    /// Processor time; none if somebody else looks at it.
    pub(crate) seconds: Option<u64>,
    /// One more than the highest descriptor that it may open.
    pub(crate) descriptors: u64,
    /// Whether it may have threads.
    pub(crate) threads: bool,
}

/// Takes this process all other rights. It can't be undone.
pub(crate) fn confine(rights: &Rights) -> Result<(), String> {
    let limits = [
        (Resource::As, rights.memory_bytes),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, rights.descriptors),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit).map_err(|errno| format!("{resource:?}: {errno}"))?;
    }
    if let Some(seconds) = rights.seconds {
        // It is told when its time is over, and killed only after that, so that the two can be told apart.
        let time = Rlimit {
            current: Some(seconds),
            maximum: Some(seconds.saturating_add(1)),
        };
        rustix::process::setrlimit(Resource::Cpu, time).map_err(|errno| format!("Cpu: {errno}"))?;
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(|errno| format!("capabilities: {errno}"))?;
    // It has no purpose once nobody waits for it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| errno.to_string())?;
    let program = filter(rights.threads).map_err(|error| error.to_string())?;
    // It sets `no_new_privs` first.
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

/// The filter of system calls. Threads inherit it.
fn filter(threads: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_exit_group, Vec::new());
    let masked = |place: u8, mask: u64, value: u64| {
        let equal = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(place, SeccompCmpArgLen::Qword, equal, value)?;
        Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let no_code = || masked(2, libc::PROT_EXEC as u64, 0);
    rules.insert(libc::SYS_mmap, no_code()?);
    rules.insert(libc::SYS_mprotect, no_code()?);
    // Threads, but no processes.
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    if threads {
        rules.insert(libc::SYS_clone, masked(0, thread, thread)?);
    }
    // Only to itself: that is how it aborts.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, masked(0, u64::MAX, own)?);
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, unknown, SeccompAction::Allow, architecture)?.try_into()
}
