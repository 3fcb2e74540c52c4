//! The switch between two vhost-user front-ends, beside OVS-DPDK.
//!
//! ```text
//! dpdk-testpmd ── port 0 ── socket ──▶ what is measured ──▶ socket ── port 1 ── the same dpdk-testpmd
//!              ◀─────────────────────  (one processor)  ◀─────────────────────    (the other processor)
//! ```
//!
//! testpmd sends some frames, and sends out of one port whatever it receives on the other, so that they go round and
//! round as fast as the slower of the two can. Frames that pass a gateway can't do that, because it counts hops: those
//! are sent by our own driver, as many as fit into the rings. No virtual machine and no kernel is between.

pub mod generator;
pub mod huge_pages;
pub mod middle;
pub mod testpmd;

/// What is measured, with what kind of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// What the row is called.
    pub name: &'static str,
    /// Length of a frame.
    pub frame: u16,
    /// What the frames go through.
    pub middle: Middle,
    /// Who sends and receives.
    pub ends: Ends,
}

/// What is between the two ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Middle {
    /// tapswitch, two ports of one network.
    Switch,
    /// tapswitch, a port of a network and an uplink with masquerade.
    SwitchNat,
    /// OVS with its DPDK datapath.
    Ovs,
}

/// Who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// dpdk-testpmd.
    Testpmd,
    /// [`tapio::testing::VhostDriver`], with 1024 UDP flows.
    Generator,
}

/// All cases. Each after the first two is compared with an earlier one.
pub const CASES: [Case; 6] = [
    Case { name: "64 bytes, OVS-DPDK", frame: 64, middle: Middle::Ovs, ends: Ends::Testpmd },
    Case { name: "64 bytes", frame: 64, middle: Middle::Switch, ends: Ends::Testpmd },
    Case { name: "1500 bytes, OVS-DPDK", frame: 1500, middle: Middle::Ovs, ends: Ends::Testpmd },
    Case { name: "1500 bytes", frame: 1500, middle: Middle::Switch, ends: Ends::Testpmd },
    Case { name: "64 bytes, generated", frame: 64, middle: Middle::Switch, ends: Ends::Generator },
    Case {
        name: "64 bytes, generated, masquerade",
        frame: 64,
        middle: Middle::SwitchNat,
        ends: Ends::Generator,
    },
];

/// Which case must be at least how many times as fast as which other one, by their places in [`CASES`].
pub const BARS: [(usize, usize, f64); 3] = [(1, 0, 1.0), (3, 2, 1.0), (5, 4, 0.6)];
