//! System calls by subject: what is above it says when and why.

pub(crate) mod bpf;
pub(crate) mod closer;
mod folders;
pub(crate) mod huge_pages;
pub(crate) mod netdevice;
pub(crate) mod packet_options;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod tap_ioctl;
pub(crate) mod unix_socket;
pub(crate) mod user_namespace;
pub(crate) mod watch;
