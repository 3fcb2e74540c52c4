//! tapswitch: a userspace virtual switch and NAT dataplane for Linux.
//!
//! ```text
//! configuration ──▶ Plan ──▶ driver ◀── control socket ◀── show, reload
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod driver;
pub mod guest;
pub mod import;
pub mod log;
pub mod mistake;
mod resolver;
pub mod rules;
mod service;
pub mod show;
mod terminal;
