//! What the kernel has: network namespaces, links, addresses, and what else hangs on a device.

pub(crate) mod claim;
mod clsact;
pub(crate) mod host_use;
pub(crate) mod link;
pub(crate) mod link_monitor;
pub(crate) mod listeners;
mod netlink;
pub(crate) mod netns;
pub(crate) mod shared_address;
pub(crate) mod silence;
pub(crate) mod tun;
