//! The table of system calls as programs of the kernel. seccomp(2).
//!
//! ```text
//! call ─▶ listed, with these arguments? ── no ─▶ SIGSYS
//!                 │ yes                          what both say counts: the stricter of the two
//!      ─▶ one that is refused? ── yes ─▶ ENOSYS
//! ```

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;
use std::os::fd::RawFd;

use rustix::process::getpid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

use super::calls::{Call, LISTED, REFUSED, Test};

/// Limits all threads to the calls of the table.
pub(super) fn install(channel: Option<RawFd>) -> io::Result<()> {
    // The list last: seccomp(2) isn't on it.
    for program in programs(channel).map_err(io::Error::other)? {
        apply_filter_all_threads(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn programs(channel: Option<RawFd>) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let always = |call: &Call| (call.number, Vec::new());
    let refused: Rules = REFUSED.iter().map(always).collect();
    let mut listed = refused.clone();
    for call in LISTED {
        let rules = call.only.iter().filter_map(|tests| rule(tests, channel).transpose());
        let rules: Vec<SeccompRule> = rules.collect::<Result<_, _>>()?;
        if call.only.is_empty() || !rules.is_empty() {
            listed.insert(call.number, rules);
        }
    }
    let program =
        |rules, others, these| SeccompFilter::new(rules, others, these, ARCH.try_into()?)?.try_into();
    Ok([
        program(refused, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?,
        program(listed, SeccompAction::Trap, SeccompAction::Allow)?,
    ])
}

/// `None`: without a channel, nothing is it.
fn rule(tests: &[Test], channel: Option<RawFd>) -> Result<Option<SeccompRule>, seccompiler::BackendError> {
    let conditions = tests.iter().filter_map(|&test| condition(test, channel).transpose());
    let conditions: Vec<SeccompCondition> = conditions.collect::<Result<_, _>>()?;
    if conditions.is_empty() { Ok(None) } else { SeccompRule::new(conditions).map(Some) }
}

fn condition(
    test: Test,
    channel: Option<RawFd>,
) -> Result<Option<SeccompCondition>, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    // The kernel looks at the lower half of an `int` alone.
    let int = |value: i32| u64::from(value.cast_unsigned());
    let (argument, len, is, value) = match (test, channel) {
        (Test::Int(argument, value), _) => (argument, Dword, Eq, int(value)),
        (Test::IntBut(argument, value, ignored), _) => (argument, Dword, MaskedEq(int(!ignored)), int(value)),
        (Test::Within(argument, bits), _) => (argument, Qword, MaskedEq(!bits), 0),
        (Test::Word(argument, value), _) => (argument, Qword, Eq, value),
        (Test::Itself(argument), _) => (argument, Dword, Eq, int(getpid().as_raw_pid())),
        (Test::Channel(argument), Some(channel)) => (argument, Dword, Eq, int(channel)),
        (Test::NotChannel(argument), Some(channel)) => (argument, Dword, Ne, int(channel)),
        (Test::Channel(_), None) => return Ok(None),
        // None has this number.
        (Test::NotChannel(argument), None) => (argument, Dword, Ne, int(-1)),
    };
    SeccompCondition::new(argument, len, is, value).map(Some)
}
