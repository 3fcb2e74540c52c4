//! A tap: the switch holds the userspace end, the kernel's network device is the other side.
//!
//! ```text
//! read(2), write(2):  [virtio_net_hdr 12][frame …]      one call per frame, header and frame contiguous
//! ```
//!
//! * A call costs about 400 ns (read) or 600 ns (write) whatever the frame's size, so offloads, which make frames
//!   few and large, are what makes a tap fast.
//! * A device that this process creates goes with it. A persistent one that is there already stays and gets back the
//!   address, MAC, MTU and state that it had.
//! * While the device is down, reads find nothing and writes fail with EIO. When it is deleted, both fail with
//!   EBADFD.

mod device;
mod queue;

pub(super) use self::device::KIND;
pub use self::device::{TapConfig, TapDevice};
pub(super) use self::queue::TapQueue;
