//! What is set for a bridge's tree, and for a port's place in it. IEEE 802.1D-2004, 17.13.

use super::vector::Times;

/// Which protocol keeps a segment free of loops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StpMode {
    /// None.
    #[default]
    Off,
    /// STP, as of 1998.
    Stp,
    /// RSTP; with neighbours that don't know it STP.
    Rstp,
}

/// What is set for a bridge. The default is what holds where nothing is said. IEEE 802.1D-2004, tables 17-1 and 17-2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeSettings {
    /// Which protocol.
    pub mode: StpMode,
    /// The bridge's priority, a multiple of 4096: the lower, the more likely it is the root.
    pub priority: u16,
    /// Seconds between two BPDUs of a port.
    pub hello: u8,
    /// Seconds after which what a root said counts no more.
    pub max_age: u8,
    /// Seconds that a port listens, and learns, where nobody agrees to anything faster.
    pub forward_delay: u8,
}

impl Default for TreeSettings {
    fn default() -> Self {
        Self { mode: StpMode::Off, priority: 32_768, hello: 2, max_age: 20, forward_delay: 15 }
    }
}

impl TreeSettings {
    pub(crate) const fn times(&self) -> Times {
        Times::of_root(self.hello, self.max_age, self.forward_delay)
    }
}

/// Whether only stations are behind a port, and no bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Edge {
    /// It is found out: in RSTP, nobody has answered for three seconds.
    #[default]
    Auto,
    /// Yes, until a BPDU comes.
    Yes,
    /// No.
    No,
}

/// What is set for a port. The default is what holds where nothing is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreePort {
    /// Whether it forwards without waiting.
    pub edge: Edge,
    /// What the way by it costs; `None`: by its speed.
    pub path_cost: Option<u32>,
    /// Its priority, a multiple of 16: the lower, the better.
    pub priority: u8,
    /// Whether a BPDU shuts it.
    pub bpdu_guard: bool,
    /// Whether it never leads to the root (802.1Q: restrictedRole).
    pub root_guard: bool,
    /// Whether one bridge at most is behind it.
    pub point_to_point: bool,
}

impl Default for TreePort {
    fn default() -> Self {
        Self {
            edge: Edge::Auto,
            path_cost: None,
            priority: 128,
            bpdu_guard: false,
            root_guard: false,
            point_to_point: true,
        }
    }
}

/// What the way by a port of this speed, in Mbit/s, costs: as recommended for the protocol. RSTP: 802.1D-2004, table 17-3;
/// STP: 802.1D-1998, table 8-5, which Linux has, too.
pub const fn cost_of(speed: u32, mode: StpMode) -> u32 {
    let speed = if speed == 0 { 1 } else { speed };
    match mode {
        StpMode::Off | StpMode::Rstp => {
            let cost = 20_000_000 / speed;
            if cost == 0 { 1 } else { cost }
        }
        StpMode::Stp => match speed {
            ..=4 => 250,
            5..=10 => 100,
            11..=16 => 62,
            17..=100 => 19,
            101..=1000 => 4,
            1001..=10_000 => 2,
            _ => 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_standards_tables() {
        let rapid = [(10, 2_000_000), (100, 200_000), (1000, 20_000), (10_000, 2000), (1_000_000, 20)];
        for (speed, cost) in rapid {
            assert_eq!(cost_of(speed, StpMode::Rstp), cost, "{speed}");
        }
        for (speed, cost) in [(4, 250), (10, 100), (16, 62), (100, 19), (1000, 4), (10_000, 2)] {
            assert_eq!(cost_of(speed, StpMode::Stp), cost, "{speed}");
        }
        assert_eq!((cost_of(0, StpMode::Rstp), cost_of(u32::MAX, StpMode::Rstp)), (20_000_000, 1));
    }
}
