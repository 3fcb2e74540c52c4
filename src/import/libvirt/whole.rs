//! The file around the network: whatever is printed passes `check`.

use std::ops::Range;

use super::forward::Device;
use super::{Import, LibvirtOptions, MAX_MISTAKES};
use crate::config::Config;
use crate::import::Imported;
use crate::mistake::Mistake;

impl Import<'_> {
    /// The network, and around it what `options` ask for.
    ///
    /// # Errors
    /// What `check` would say, at the places in the XML that it comes from.
    pub(super) fn whole(mut self, options: LibvirtOptions<'_>) -> Result<Imported, Vec<Mistake>> {
        let network = self.section();
        let (port, uplink) = (self.port(), self.uplink_section());
        let around = uplink.iter().map(|uplink| (uplink.clone(), self.root.clone()));
        let file: Vec<(String, Range<usize>)> =
            network.iter().cloned().chain([(port.clone(), self.root.clone())]).chain(around).collect();
        check(&file)?;
        let text = |lines: &[(String, Range<usize>)]| {
            lines.iter().map(|(line, _)| line.as_str()).collect::<String>()
        };
        let toml = if options.complete { format!("{HEAD}{}", text(&file)) } else { text(&network) };
        if uplink.is_some() {
            self.uplink_notes(options);
        }
        Ok(Imported { toml, notes: self.notes })
    }

    fn section(&self) -> Vec<(String, Range<usize>)> {
        let header = (format!("[network.{}]\n", key(&self.name)), self.root.clone());
        [header].into_iter().chain(self.lines.iter().cloned()).collect()
    }

    /// A guest's place, with a name that isn't the uplink's.
    fn port(&self) -> String {
        let name = if self.uplink == "vm1" { "vm2" } else { "vm1" };
        format!(
            "\n# A section for each guest: `tapswitch libvirt-xml {network}/{name}` prints its <interface>.\n\
             [network.{}.port.{name}]\ntype = \"packet\"\ndevice = \"tap-{name}\"  # edit: the guest's tap\n",
            key(&self.name),
            network = self.name,
        )
    }

    /// `None` where nobody uses it.
    fn uplink_section(&self) -> Option<String> {
        if matches!(self.mode, "internal" | "host-only") {
            return None;
        }
        let card = |name: &str| {
            format!(
                "type = \"packet\"\ndevice = {}  # edit: what leads outside\nhost-stack = true  # the host goes on using it\n",
                super::quoted(name)
            )
        };
        let device = match &self.device {
            Some(Device::Card(name)) => card(name),
            Some(Device::Bridge(bridge)) => format!(
                "type = \"tap\"\ndevice = \"tap-uplink\"  # edit: a name; then ip link set tap-uplink up master {}\n",
                bridge.replace(char::is_control, " ")
            ),
            None => card("eth0"),
        };
        let address = if self.mode == "bridge" { String::new() } else { self.outside() };
        Some(format!("\n[uplink.{}]\n{device}{address}", key(self.uplink)))
    }

    /// Addresses that nobody has, outside the network's own.
    fn outside(&self) -> String {
        let own = self
            .lines
            .iter()
            .find_map(|(line, _)| line.strip_prefix("address = \"")?.trim_end().strip_suffix('"'));
        let own: Option<packet::Ipv4Cidr> = own.and_then(|own| own.parse().ok());
        let is_free = |net: &&&str| {
            let there = format!("{net}.250/24").parse::<packet::Ipv4Cidr>();
            own.zip(there.ok()).is_none_or(|(own, there)| !own.overlaps(there))
        };
        let net = EXAMPLES.iter().find(is_free).unwrap_or(&EXAMPLES[0]);
        format!(
            "address = \"{net}.250/24\"  # edit: an address of the network outside that nobody has\n\
             gateway = \"{net}.1\"  # edit: the router there\n"
        )
    }

    fn uplink_notes(&mut self, options: LibvirtOptions<'_>) {
        let name = self.uplink;
        match (&self.device, options.complete) {
            (Some(Device::Bridge(bridge)), false) => self.note(format!(
                "{bridge} goes on as it is: make [uplink.{name}] a tap, and put its device into {bridge}"
            )),
            (Some(Device::Card(device)), false) => {
                self.note(format!("the device {device} is for [uplink.{name}], a section of its own"));
            }
            (_, true) => self.note("lines with \"edit\" are examples: put in what your network has"),
            _ => {}
        }
        if options.uplink.is_none() {
            self.note("the uplink is called wan; name another with --uplink NAME");
        }
    }
}

/// What `check` says about these lines, at the places that they come from.
fn check(lines: &[(String, Range<usize>)]) -> Result<(), Vec<Mistake>> {
    let text: String = lines.iter().map(|(line, _)| line.as_str()).collect();
    let Err(mistakes) = Config::parse("network", &text, &[]) else { return Ok(()) };
    let place = |at: usize| {
        let mut end = 0;
        let line = lines.iter().find(|(line, _)| {
            end += line.len();
            at < end
        });
        line.or(lines.first()).map_or(0..0, |(_, place)| place.clone())
    };
    let moved = |mistake: &Mistake| Mistake { span: place(mistake.span.start), ..mistake.clone() };
    Err(mistakes.list().iter().take(MAX_MISTAKES).map(moved).collect())
}

/// `name` as a key of TOML.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { super::quoted(name) }
}

const HEAD: &str = "# Made by `tapswitch import libvirt --complete`. Edit the lines that say so, then: tapswitch check FILE\n\n";

/// Networks that nobody has, RFC 5737.
const EXAMPLES: &[&str] = &["192.0.2", "198.51.100", "203.0.113"];
