//! The keys of the spanning tree, of networks and of ports.

use engine::stp::{Edge, StpMode, TreePort, TreeSettings};
use toml::de::DeValue;

use super::read::{Read, Wrong, boolean, choice, number};
use super::table::{Given, Maybe, Table};

/// A network's keys.
pub(super) struct TreeTable {
    pub(super) settings: TreeSettings,
    /// Those that must fit to each other.
    pub(super) hello: Maybe<u32>,
    pub(super) max_age: Maybe<u32>,
    pub(super) forward_delay: Maybe<u32>,
    /// Those that need another protocol than none.
    pub(super) places: Vec<std::ops::Range<usize>>,
}

impl TreeTable {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Self {
        let defaults = TreeSettings::default();
        let mode = table.optional("stp", choice(MODES)).value_or(defaults.mode);
        let priority = table.optional("stp-priority", multiple(4096, 61_440));
        let hello = table.optional("stp-hello-time", number(1..=10, "seconds"));
        let max_age = table.optional("stp-max-age", number(6..=40, "seconds"));
        let forward_delay = table.optional("stp-forward-delay", number(4..=30, "seconds"));
        let seconds = |time: &Maybe<u32>, default: u8| time.value().map_or(default, |time| *time as u8);
        let settings = TreeSettings {
            mode,
            priority: priority.value().map_or(defaults.priority, |priority| *priority as u16),
            hello: seconds(&hello, defaults.hello),
            max_age: seconds(&max_age, defaults.max_age),
            forward_delay: seconds(&forward_delay, defaults.forward_delay),
        };
        let places = [&priority, &hello, &max_age, &forward_delay].into_iter().filter_map(Given::place);
        Self { settings, places: places.collect(), hello, max_age, forward_delay }
    }
}

/// A port's keys.
pub(super) fn port(table: &mut Table<'_, '_>) -> TreePort {
    let defaults = TreePort::default();
    let priority = table.optional("port-priority", multiple(16, 240));
    TreePort {
        edge: table.optional("edge", edge).value_or(defaults.edge),
        path_cost: table.optional("path-cost", number(1..=200_000_000, "costs")).value().copied(),
        priority: priority.value().map_or(defaults.priority, |priority| *priority as u8),
        bpdu_guard: table.optional("bpdu-guard", boolean).value_or(defaults.bpdu_guard),
        root_guard: table.optional("root-guard", boolean).value_or(defaults.root_guard),
        point_to_point: table.optional("point-to-point", boolean).value_or(defaults.point_to_point),
    }
}

/// `true`, `false` or `"auto"`.
fn edge(value: &DeValue<'_>) -> Read<Edge> {
    match value.as_bool() {
        Some(true) => Ok(Edge::Yes),
        Some(false) => Ok(Edge::No),
        None if value.as_str() == Some("auto") => Ok(Edge::Auto),
        None => Err(Wrong::new(
            "this doesn't say whether only stations are there",
            "write true, false or \"auto\"",
        )),
    }
}

/// A multiple of `step`, up to `most`. IEEE 802.1D-2004, 9.2.5 and 9.2.7: the lower bits are other things' now.
fn multiple(step: u32, most: u32) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| match number(0..=most, "priority")(value)? {
        priority if priority % step == 0 => Ok(priority),
        priority => {
            let (below, above) = (priority / step * step, (priority / step + 1) * step);
            Err(Wrong::new(
                format!("{priority} is no multiple of {step}, as priorities are"),
                format!("write {below} or {above}"),
            ))
        }
    }
}

const MODES: &[(&str, StpMode)] = &[("off", StpMode::Off), ("stp", StpMode::Stp), ("rstp", StpMode::Rstp)];
