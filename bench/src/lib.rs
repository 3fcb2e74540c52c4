//! The benchmark harness.
//!
//! ```text
//! rounds ─▶ for each workload (workload.rs) ─▶ for each subject (subject.rs) ─▶ one value
//!                                                                  medians, ratios, bars (report.rs) ◀─┘
//! ```
//!
//! Subjects are all set up before the first round and measured in turn, so that whatever else the machine does hits
//! each of them alike. Sender and receiver are inside network namespaces of the run, and so is what lies between.
#![forbid(unsafe_code)]

pub mod attack;
#[path = "../../tapio/tests/vhost/guest.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "written for the tests of tapio")]
mod fake_guest;
pub mod report;
pub mod subject;
pub mod vhost;
pub mod workload;
