//! How a plan came about.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text that a configuration was read from, and what it took from the host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Source {
    /// What messages call it.
    pub(super) name: String,
    pub(super) text: String,
    /// Offered by DHCP on networks that name none.
    pub(super) name_servers: Vec<Ipv4Addr>,
}

/// The numbers of networks, and of ports by network and name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) networks: Vec<(String, u16)>,
    pub(super) ports: Vec<(String, String, u16)>,
}

/// A change that is in no file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Edit {
    PortAdd {
        place: String,
        keys: String,
        id: u16,
    },
    PortDel {
        place: String,
    },
    /// With the number of the rule, whatever it was written with.
    Nat {
        line: String,
    },
}

/// How a plan came about. That is no part of what it says.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub(super) source: Arc<Source>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) edits: Vec<Edit>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Origin {
    pub(super) fn new(source: Arc<Source>, numbers: Numbers) -> Self {
        Self { source, numbers: Arc::new(numbers), edits: Vec::new() }
    }

    /// A port was added and deleted again as if it had never been.
    pub(super) fn add(&mut self, edit: Edit) {
        let is_undone = |other: &Edit| matches!((other, &edit), (Edit::PortAdd { place: a, .. }, Edit::PortDel { place: b }) if a == b);
        match self.edits.iter().rposition(is_undone) {
            Some(place) => drop(self.edits.remove(place)),
            None => self.edits.push(edit),
        }
    }
}
