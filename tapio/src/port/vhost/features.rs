//! What is offered to front-ends, and what follows from what they accept.
//! Virtio 1.2, 5.1.3 and 6; vhost-user protocol, "Protocol features".

use packet::OffloadSet;

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const MRG_RXBUF: u64 = 1 << 15;
const GUEST_ANNOUNCE: u64 = 1 << 21;
const MQ: u64 = 1 << 22;
const INDIRECT_DESC: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const VERSION_1: u64 = 1 << 32;
const GUEST_USO4: u64 = 1 << 54;
const GUEST_USO6: u64 = 1 << 55;
const HOST_USO: u64 = 1 << 56;

const GUEST_TSO: u64 = GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN;
const GUEST_USO: u64 = GUEST_USO4 | GUEST_USO6;
const HOST_OFFLOADS: u64 = CSUM | HOST_TSO4 | HOST_TSO6 | HOST_ECN | HOST_USO;
const GUEST_OFFLOADS: u64 = GUEST_CSUM | GUEST_TSO | GUEST_USO;
const BASE: u64 = VERSION_1 | MRG_RXBUF | GUEST_ANNOUNCE | MQ | INDIRECT_DESC | EVENT_IDX | PROTOCOL_FEATURES;

/// What a driver accepts that is to be simple and fast.
#[cfg(feature = "testing")]
pub(super) const DRIVER_FEATURES: u64 = VERSION_1 | MRG_RXBUF;

/// What was agreed on with a front-end. `HOST` in a name is us, `GUEST` the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Features(pub u64);

impl Features {
    /// Nothing is agreed on yet.
    pub const NONE: Self = Self(0);

    /// What is offered. The control queue, MAC and link status are the front-end's own business; dirty-page logging,
    /// packed rings and UFO are not offered.
    pub const fn offered(offload: bool) -> Self {
        Self(if offload { BASE | HOST_OFFLOADS | GUEST_OFFLOADS } else { BASE })
    }

    /// Those of them that are not in `offered`.
    pub const fn beyond(self, offered: Self) -> u64 {
        self.0 & !offered.0
    }

    /// Length of the header in front of each frame.
    pub const fn header_len(self) -> usize {
        if self.0 & (VERSION_1 | MRG_RXBUF) == 0 { 10 } else { 12 }
    }

    /// A frame may be spread over several buffers.
    pub const fn mergeable(self) -> bool {
        self.0 & MRG_RXBUF != 0
    }

    /// Notifications are asked for by index, not by flag.
    pub const fn event_index(self) -> bool {
        self.0 & EVENT_IDX != 0
    }

    /// Rings wait for SET_VRING_ENABLE.
    pub const fn rings_start_disabled(self) -> bool {
        self.0 & PROTOCOL_FEATURES != 0
    }

    /// The offloaded frames that the guest takes.
    pub const fn guest_offloads(self) -> OffloadSet {
        let checksum = self.0 & GUEST_CSUM != 0;
        OffloadSet {
            checksum,
            tso: checksum && self.0 & GUEST_TSO == GUEST_TSO,
            uso: checksum && self.0 & GUEST_USO == GUEST_USO,
        }
    }
}

/// Extensions of the protocol itself.
pub(super) mod protocol {
    const MQ: u64 = 1 << 0;
    /// The front-end may ask for a reply to any request.
    pub const REPLY_ACK: u64 = 1 << 3;
    const RESET_DEVICE: u64 = 1 << 13;
    const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;

    /// What is offered. Not CONFIG: the configuration space of a network device is the front-end's.
    pub const OFFERED: u64 = MQ | REPLY_ACK | RESET_DEVICE | CONFIGURE_MEM_SLOTS;
}
