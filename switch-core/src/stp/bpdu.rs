//! BPDUs: bridge protocol data units as they are on the wire. IEEE 802.1D-2004, clause 9.
//!
//! ```text
//!  0 protocol 2 version 3 type 4 flags 5 root 13 cost 17 bridge 25 port 27 age 29 max age 31 hello 33 delay 35 length
//! ```

use super::vector::{BridgeId, SECOND, Times, Vector};

/// What a port is in the tree. IEEE 802.1D-2004, 17.7.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// It has no link, or is shut.
    #[default]
    Disabled,
    /// It leads to the root.
    Root,
    /// It is the way to the root of whoever is behind it.
    Designated,
    /// It leads to the root, too, and stands by.
    Alternate,
    /// Another port of this bridge serves who is behind it.
    Backup,
}

impl Role {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Root => "root",
            Self::Designated => "designated",
            Self::Alternate => "alternate",
            Self::Backup => "backup",
        }
    }
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bpdu {
    /// Of STP: about the tree.
    Config(Message),
    /// Of STP: the topology has changed.
    Notification,
    /// Of RSTP.
    Rapid(Message),
}

/// What a BPDU says of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What the sender is on the wire that the message came by. STP has none but designated ports speak.
    pub role: Role,
    /// What its bridge knows.
    pub vector: Vector,
    /// The times that hold in its tree.
    pub times: Times,
    /// The topology has changed.
    pub topology_change: bool,
    /// Of STP: a notification was heard.
    pub acknowledged: bool,
    /// The sender wants to forward at once.
    pub proposal: bool,
    /// The sender lets whoever proposed that forward.
    pub agreement: bool,
    /// The sender learns.
    pub learning: bool,
    /// The sender forwards.
    pub forwarding: bool,
}

/// A frame to the bridges' address that is no BPDU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadBpdu;

impl Bpdu {
    /// Reads what is behind the header of logical link control. 9.3.4.
    ///
    /// # Errors
    /// It is no BPDU of STP or RSTP, or too old to count.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadBpdu> {
        let &[0, 0, version, kind, ref rest @ ..] = bytes else { return Err(BadBpdu) };
        match kind {
            TCN => Ok(Self::Notification),
            CONFIG => {
                let message = message(rest).ok_or(BadBpdu)?;
                // Before it is cut to what times may be.
                let age = word(rest, 23).ok_or(BadBpdu)?;
                if age >= word(rest, 25).ok_or(BadBpdu)? {
                    return Err(BadBpdu);
                }
                Ok(Self::Config(message.of_stp()))
            }
            RAPID if version >= 2 && rest.len() > BODY => {
                let message = message(rest).ok_or(BadBpdu)?;
                // A role that nobody has makes it a configuration BPDU. 9.2.9.
                match message.role {
                    Role::Disabled => Ok(Self::Config(message.of_stp())),
                    _ => Ok(Self::Rapid(message)),
                }
            }
            _ => Err(BadBpdu),
        }
    }

    /// The message as it is on the wire, and its length.
    pub fn write(&self) -> ([u8; 36], usize) {
        let mut bytes = [0; 36];
        match self {
            Self::Notification => {
                bytes[3] = TCN;
                (bytes, 4)
            }
            Self::Config(message) => {
                message.write(&mut bytes);
                bytes[4] = message.flags() & (TOPOLOGY_CHANGE | ACKNOWLEDGED);
                (bytes, 35)
            }
            Self::Rapid(message) => {
                message.write(&mut bytes);
                (bytes[2], bytes[3], bytes[4]) = (2, RAPID, message.flags() & !ACKNOWLEDGED);
                (bytes, 36)
            }
        }
    }
}

impl Message {
    /// What STP makes of it: only designated ports speak, and nobody proposes anything.
    const fn of_stp(self) -> Self {
        let role = Role::Designated;
        Self { role, proposal: false, agreement: false, learning: false, forwarding: false, ..self }
    }

    fn flags(&self) -> u8 {
        let role = match self.role {
            Role::Disabled => 0,
            Role::Alternate | Role::Backup => 1,
            Role::Root => 2,
            Role::Designated => 3,
        };
        let flags = [
            (self.topology_change, TOPOLOGY_CHANGE),
            (self.proposal, PROPOSAL),
            (self.learning, LEARNING),
            (self.forwarding, FORWARDING),
            (self.agreement, AGREEMENT),
            (self.acknowledged, ACKNOWLEDGED),
        ];
        flags.iter().filter(|(is_set, _)| *is_set).fold(role << ROLE_AT, |all, (_, flag)| all | flag)
    }

    fn write(&self, bytes: &mut [u8; 36]) {
        let Vector { root, cost, bridge, port } = self.vector;
        bytes[5..13].copy_from_slice(&root.to_bits().to_be_bytes());
        bytes[13..17].copy_from_slice(&cost.to_be_bytes());
        bytes[17..25].copy_from_slice(&bridge.to_bits().to_be_bytes());
        bytes[25..27].copy_from_slice(&port.to_be_bytes());
        let Times { message_age, max_age, hello, forward_delay } = self.times;
        for (at, time) in [(27, message_age), (29, max_age), (31, hello), (33, forward_delay)] {
            bytes[at..at + 2].copy_from_slice(&time.to_be_bytes());
        }
    }
}

/// Reads what is behind the type.
fn message(rest: &[u8]) -> Option<Message> {
    let flags = *rest.first()?;
    let has = |flag: u8| flags & flag != 0;
    let role = match flags >> ROLE_AT & 3 {
        0 => Role::Disabled,
        1 => Role::Alternate,
        2 => Role::Root,
        _ => Role::Designated,
    };
    let vector = Vector {
        root: BridgeId::from_bits(long(rest, 1)?),
        cost: u32::from_be_bytes(rest.get(9..13)?.try_into().ok()?),
        bridge: BridgeId::from_bits(long(rest, 13)?),
        port: word(rest, 21)?,
    };
    // Times that no bridge may have would have ports forward at once, or never. Table 17-1, and what Linux allows.
    let times = Times {
        message_age: word(rest, 23)?,
        max_age: word(rest, 25)?.clamp(6 * SECOND, 40 * SECOND),
        hello: word(rest, 27)?.clamp(SECOND, 10 * SECOND),
        forward_delay: word(rest, 29)?.clamp(2 * SECOND, 30 * SECOND),
    };
    Some(Message {
        role,
        vector,
        times,
        topology_change: has(TOPOLOGY_CHANGE),
        acknowledged: has(ACKNOWLEDGED),
        proposal: has(PROPOSAL),
        agreement: has(AGREEMENT),
        learning: has(LEARNING),
        forwarding: has(FORWARDING),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

const CONFIG: u8 = 0;
const RAPID: u8 = 2;
const TCN: u8 = 0x80;
/// Bytes of a configuration BPDU behind the type. One of RSTP has another one, which is 0.
const BODY: usize = 31;

const TOPOLOGY_CHANGE: u8 = 1;
const PROPOSAL: u8 = 1 << 1;
const ROLE_AT: u8 = 2;
const LEARNING: u8 = 1 << 4;
const FORWARDING: u8 = 1 << 5;
const AGREEMENT: u8 = 1 << 6;
const ACKNOWLEDGED: u8 = 1 << 7;

#[cfg(test)]
mod tests {
    use super::*;
    use packet::MacAddr;

    fn message() -> Message {
        let id = |n| BridgeId::new(0x8000, MacAddr::local(n));
        Message {
            role: Role::Root,
            vector: Vector { root: id(1), cost: 20_000, bridge: id(2), port: 0x8003 },
            times: Times { message_age: 256, ..Times::of_root(2, 20, 15) },
            topology_change: true,
            acknowledged: false,
            proposal: true,
            agreement: true,
            learning: true,
            forwarding: false,
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for role in [Role::Root, Role::Designated, Role::Alternate] {
            let rapid = Bpdu::Rapid(Message { role, ..message() });
            let (bytes, len) = rapid.write();
            assert_eq!(Bpdu::parse(&bytes[..len]), Ok(rapid));
        }
        let config = Bpdu::Config(Message { acknowledged: true, ..message() }.of_stp());
        let (bytes, len) = config.write();
        assert_eq!((Bpdu::parse(&bytes[..len]), len), (Ok(config), 35));
        let (bytes, len) = Bpdu::Notification.write();
        assert_eq!((Bpdu::parse(&bytes[..len]), len), (Ok(Bpdu::Notification), 4));
    }

    #[test]
    fn golden_bytes_of_a_configuration_bpdu_of_linux() {
        // Bridge 8000.02:00:00:00:00:99 is the root; port 8001; hello 1 s, max age 6 s, forward delay 4 s.
        let bytes = [
            0, 0, 0, 0, 0, 0x80, 0, 2, 0, 0, 0, 0, 0x99, 0, 0, 0, 0, 0x80, 0, 2, 0, 0, 0, 0, 0x99, 0x80, 1,
            0, 0, 6, 0, 1, 0, 4, 0,
        ];
        let Ok(Bpdu::Config(message)) = Bpdu::parse(&bytes) else { panic!("it is one") };
        let own = BridgeId::new(0x8000, MacAddr::local(0x99));
        assert_eq!(message.vector, Vector { port: 0x8001, ..Vector::own(own) });
        assert_eq!(message.times, Times::of_root(1, 6, 4));
        assert_eq!(Bpdu::Config(message).write(), ([&bytes[..], &[0]].concat().try_into().unwrap(), 35));
    }

    #[test]
    fn bpdus_of_wrong_lengths_versions_and_types_are_refused() {
        let (rapid, _) = Bpdu::Rapid(message()).write();
        (0..36).for_each(|len| assert_eq!(Bpdu::parse(&rapid[..len]), Err(BadBpdu), "{len}"));
        let (config, _) = Bpdu::Config(message().of_stp()).write();
        (0..35).for_each(|len| assert_eq!(Bpdu::parse(&config[..len]), Err(BadBpdu), "{len}"));
        let with = |at: usize, value: u8| {
            let mut bytes = rapid;
            bytes[at] = value;
            Bpdu::parse(&bytes)
        };
        for (at, value) in [(0, 1), (1, 1), (2, 0), (2, 1), (3, 1), (3, 3), (3, 0x81)] {
            assert_eq!(with(at, value), Err(BadBpdu), "byte {at} is {value}");
        }
        // A later version says what RSTP does, and more.
        assert_eq!(with(2, 3), Ok(Bpdu::Rapid(message())));
    }

    #[test]
    fn a_message_that_is_too_old_is_none() {
        let old = Message { times: Times { message_age: 20 << 8, ..message().times }, ..message() }.of_stp();
        let (bytes, len) = Bpdu::Config(old).write();
        assert_eq!(Bpdu::parse(&bytes[..len]), Err(BadBpdu));
    }

    #[test]
    fn times_that_no_bridge_may_have_are_cut() {
        let times = Times { message_age: 0, max_age: 0xffff, hello: 0, forward_delay: 0 };
        let (bytes, len) = Bpdu::Rapid(Message { times, ..message() }).write();
        let Ok(Bpdu::Rapid(read)) = Bpdu::parse(&bytes[..len]) else { panic!("it is one") };
        assert_eq!(read.times, Times::of_root(1, 40, 2));
    }

    #[test]
    fn a_role_that_nobody_has_makes_it_a_message_of_stp() {
        let (bytes, len) = Bpdu::Rapid(Message { role: Role::Disabled, ..message() }).write();
        let expected = Message { acknowledged: false, ..message() }.of_stp();
        assert_eq!(Bpdu::parse(&bytes[..len]), Ok(Bpdu::Config(expected)));
    }
}
