//! Settings of a port, of whichever kind.

use std::ops::Deref;
use std::sync::Arc;

use crate::port::kind::Settings;

/// Settings of a port. What is the same for all kinds is in [`Settings`].
#[derive(Clone, Debug)]
pub struct PortSpec(Arc<dyn Settings>);

impl PortSpec {
    /// Whether both are the same device, so that an open one goes from these settings to `other` by
    /// [`Device::reconfigure`](crate::Device::reconfigure). Otherwise it has to be closed and opened anew.
    pub fn same_device(&self, other: &Self) -> bool {
        (**self).same_device(&**other)
    }

    /// Whether both need something that only one port can have: a device, or a socket that the switch makes.
    pub fn collides(&self, other: &Self) -> bool {
        let have_one_device = self.is_device() && self.network_device() == other.network_device();
        have_one_device || self.socket().is_some_and(|socket| other.socket() == Some(socket))
    }
}

impl<T: Settings> From<T> for PortSpec {
    fn from(settings: T) -> Self {
        Self(Arc::new(settings))
    }
}

impl Deref for PortSpec {
    type Target = dyn Settings;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for PortSpec {
    fn eq(&self, other: &Self) -> bool {
        self.equals(&**other)
    }
}

impl Eq for PortSpec {}
