//! Who the process is, and what it may do by that. capabilities(7), credentials(7).

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, Gid, Uid, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// A user of the system, and its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    uid: Uid,
    gid: Gid,
}

impl User {
    /// The user of this name; `None`: the system has none. To be asked for where files can be opened. getpwnam(3).
    pub fn named(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        let mut entry = MaybeUninit::uninit();
        let mut space = [0; ENTRY];
        let mut found = ptr::null_mut();
        // SAFETY: the name ends with a zero, and there is room for `ENTRY` bytes, and for the entry and where it is.
        let error = unsafe {
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), space.as_mut_ptr(), ENTRY, &raw mut found)
        };
        if error != 0 || found.is_null() {
            return None;
        }
        // SAFETY: it was found, so it was written.
        let entry: libc::passwd = unsafe { entry.assume_init() };
        Some(Self { uid: Uid::from_raw(entry.pw_uid), gid: Gid::from_raw(entry.pw_gid) })
    }
}

/// Becomes this user, of no other group than its own. Capabilities are not touched.
pub(super) fn become_user(user: User) -> io::Result<()> {
    // In a user namespace this may be forbidden; then there are no groups that could be given up.
    let groups = set_thread_groups(&[]);
    set_thread_res_gid(user.gid, user.gid, user.gid)?;
    set_thread_res_uid(user.uid, user.uid, user.uid)?;
    Ok(groups?)
}

/// Nothing that is executed can bring capabilities, and being root is none.
pub(super) fn bound() -> io::Result<()> {
    clear_ambient_capability_set()?;
    // The kernel knows no more than these; newer ones than this program are among them.
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(set_capabilities_secure_bits(SECURE)?)
}

/// From now on the process may do nothing that others may not, and other processes don't get at it.
pub(super) fn drop_all() -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Bytes that an entry of the users takes at most.
const ENTRY: usize = 4096;

/// Each with its lock: there is no way back.
const SECURE: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);
