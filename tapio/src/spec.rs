//! What a port is to be, one variant per kind.

use crate::{Netns, TapConfig};

/// What a port is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortSpec {
    /// A tap device.
    Tap(TapConfig),
}

impl PortSpec {
    /// The word for the kind, as configuration and tables have it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tap(_) => "tap",
        }
    }

    /// What messages and tables call it: the name of its device.
    pub fn device(&self) -> &str {
        match self {
            Self::Tap(config) => &config.device,
        }
    }

    /// The namespace that the device is in; `None`: this process's.
    pub const fn netns(&self) -> Option<&Netns> {
        match self {
            Self::Tap(config) => config.netns.as_ref(),
        }
    }

    /// Whether both are the same device, so that an open port goes from one to the other by
    /// [`Port::reconfigure`](crate::Port::reconfigure). Otherwise it has to be closed and opened anew.
    pub fn same_device(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tap(a), Self::Tap(b)) => a.device == b.device && a.netns == b.netns,
        }
    }
}
