//! What tests and benchmarks need beside the ports themselves.

mod memory;
mod packet_socket;
mod port;

pub use self::memory::{MemoryPort, memory_pair};
pub use self::packet_socket::PacketSocket;
pub use self::port::Port;
pub use crate::port::vhost::VhostDriver;
