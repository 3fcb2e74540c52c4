//! The process as a service: what it tells whoever supervises it, and where its number stands.

pub mod manager;
pub mod pid_file;
