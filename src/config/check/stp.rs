//! Whether what is set for the spanning tree fits together.

use engine::stp::{StpMode, TreeSettings};

use super::super::stp::TreeTable;
use super::super::table::Given;
use super::Check;

impl Check<'_> {
    /// The settings of a network's tree. IEEE 802.1D-2004, 17.14.
    pub(super) fn tree(&mut self, table: &TreeTable) -> TreeSettings {
        let TreeSettings { mode, hello, max_age, forward_delay, .. } = table.settings;
        if mode == StpMode::Off {
            for place in &table.places {
                let help = "write stp = \"rstp\" in this network, or remove the key";
                self.wrong(place.clone(), "this key needs a spanning tree", help);
            }
            return table.settings;
        }
        if 2 * (u32::from(forward_delay) - 1) < u32::from(max_age) {
            let place = table.forward_delay.place().or_else(|| table.max_age.place());
            let message =
                format!("a forward delay of {forward_delay} s is too short for a max age of {max_age} s");
            let (delay, age) = (max_age.div_ceil(2) + 1, 2 * (forward_delay - 1));
            let help = match age {
                6.. => format!("write stp-forward-delay = {delay} or more, or stp-max-age = {age} or less"),
                _ => format!("write stp-forward-delay = {delay} or more"),
            };
            self.wrong(place.unwrap_or_default(), message, help);
        }
        if max_age < 2 * (hello + 1) {
            let place = table.max_age.place().or_else(|| table.hello.place());
            let message = format!("a max age of {max_age} s is too short for a hello time of {hello} s");
            let help = format!(
                "write stp-max-age = {} or more, or stp-hello-time = {} or less",
                2 * (hello + 1),
                max_age / 2 - 1
            );
            self.wrong(place.unwrap_or_default(), message, help);
        }
        table.settings
    }
}
