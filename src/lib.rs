//! tapswitch: a userspace virtual switch and NAT dataplane for Linux.
