//! The ioctls of /dev/net/tun. One system call, one function. Linux: Documentation/networking/tuntap.rst,
//! <linux/if_tun.h>.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::sys::netdevice::request;
use libc::{c_int, c_short, c_uint, ifreq};
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl};

/// What TUNSETIFF asks for in a tap: Ethernet frames, without packet information, each behind a `virtio_net_hdr`.
pub(crate) const TAP: c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// What TUNSETIFF asks for in a tun: IP packets and nothing else.
pub(crate) const TUN: c_int = libc::IFF_TUN | libc::IFF_NO_PI;

/// Opens a descriptor that is no device yet, in the calling thread's network namespace.
pub(crate) fn open_tun() -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    Ok(file.into())
}

/// TUNSETIFF: makes `tun` the userspace end of `device`, a [`TAP`] or a [`TUN`], which is created if it doesn't exist.
pub(crate) fn attach(tun: &OwnedFd, device: &str, kind: c_int) -> rustix::io::Result<()> {
    let mut request = request(device)?;
    request.ifr_ifru.ifru_flags = kind as c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`.
    let call = unsafe { Updater::<{ libc::TUNSETIFF as Opcode }, ifreq>::new(&mut request) };
    // SAFETY: `call` is what TUNSETIFF takes, and `request` outlives it.
    unsafe { ioctl(tun, call) }
}

/// TUNGETIFF: whether the attached device stays when `tun` is closed.
pub(crate) fn is_persistent(tun: &OwnedFd) -> rustix::io::Result<bool> {
    let mut request = request("")?;
    // SAFETY: TUNGETIFF writes one `ifreq`.
    let call = unsafe { Updater::<{ libc::TUNGETIFF as Opcode }, ifreq>::new(&mut request) };
    // SAFETY: `call` is what TUNGETIFF takes, and `request` outlives it.
    unsafe { ioctl(tun, call) }?;
    // SAFETY: TUNGETIFF has set the flags; before, they were zero. Any bit pattern is a number.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(c_int::from(flags) & libc::IFF_PERSIST != 0)
}

/// TUNSETPERSIST: whether the attached device shall stay when `tun` is closed.
#[cfg(test)]
pub(crate) fn set_persistent(tun: &OwnedFd, persistent: bool) -> rustix::io::Result<()> {
    set_number::<{ libc::TUNSETPERSIST as Opcode }>(tun, usize::from(persistent))
}

/// TUNSETVNETHDRSZ: the length of the `virtio_net_hdr` before each frame.
pub(crate) fn set_header_size(tun: &OwnedFd, bytes: usize) -> rustix::io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    let call = unsafe { Setter::<{ libc::TUNSETVNETHDRSZ as Opcode }, c_int>::new(bytes as c_int) };
    // SAFETY: `call` is what TUNSETVNETHDRSZ takes.
    unsafe { ioctl(tun, call) }
}

/// TUNSETOFFLOAD: the kinds of offloaded frame (`TUN_F_…`) that may be read from `tun`.
pub(crate) fn set_offload(tun: &OwnedFd, features: c_uint) -> rustix::io::Result<()> {
    set_number::<{ libc::TUNSETOFFLOAD as Opcode }>(tun, features as usize)
}

fn set_number<const OPCODE: Opcode>(tun: &OwnedFd, number: usize) -> rustix::io::Result<()> {
    // SAFETY: both opcodes this is used with take a number, not a pointer.
    let call = unsafe { IntegerSetter::<OPCODE>::new_usize(number) };
    // SAFETY: as above.
    unsafe { ioctl(tun, call) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Links, NetnsHandle};

    /// Runs `f` with a tap `t0` and the links of a namespace of its own.
    fn with_tap(f: impl FnOnce(OwnedFd, Links) + Send) {
        let attached = || {
            let tun = open_tun().unwrap();
            attach(&tun, "t0", TAP).unwrap();
            f(tun, Links::open().unwrap());
        };
        NetnsHandle::anonymous().unwrap().enter(attached).unwrap();
    }

    /// A child that another test makes has a copy of our descriptors for a moment.
    fn until_closed(mut condition: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !condition() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn attaching_creates_the_device() {
        with_tap(|_tun, links| assert!(links.find("t0").is_ok()));
    }

    #[test]
    fn a_device_that_is_not_persistent_goes_with_its_descriptor() {
        with_tap(|tun, links| {
            assert!(!is_persistent(&tun).unwrap());
            drop(tun);
            until_closed(|| links.find("t0").is_err());
        });
    }

    #[test]
    fn a_persistent_device_stays_and_says_so() {
        with_tap(|tun, links| {
            set_persistent(&tun, true).unwrap();
            drop(tun);
            assert!(links.find("t0").is_ok());
            let tun = open_tun().unwrap();
            until_closed(|| attach(&tun, "t0", TAP).is_ok());
            assert!(is_persistent(&tun).unwrap());
            set_persistent(&tun, false).unwrap();
            assert!(!is_persistent(&tun).unwrap());
        });
    }

    #[test]
    fn the_header_has_the_size_that_was_asked_for() {
        with_tap(|tun, links| {
            set_header_size(&tun, 12).unwrap();
            links.set_up("t0").unwrap();
            let mut frame = [0; 12 + 60];
            assert_eq!(rustix::io::write(&tun, &frame), Ok(72));
            set_header_size(&tun, 20).unwrap();
            frame[12..].fill(0);
            // 52 bytes behind a header of 20.
            assert_eq!(rustix::io::write(&tun, &frame), Ok(72));
            assert_eq!(links.find("t0").unwrap().rx_bytes, 60 + 52);
            assert!(set_header_size(&tun, 1).is_err());
        });
    }

    #[test]
    fn known_offloads_are_accepted_and_unknown_ones_refused() {
        with_tap(|tun, _| {
            assert_eq!(set_offload(&tun, libc::TUN_F_CSUM | libc::TUN_F_TSO4), Ok(()));
            assert_eq!(set_offload(&tun, 1 << 31), Err(rustix::io::Errno::INVAL));
        });
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let tun = open_tun().unwrap();
        assert_eq!(attach(&tun, "sixteen-letters-", TAP), Err(rustix::io::Errno::NAMETOOLONG));
    }
}
