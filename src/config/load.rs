//! From a file or a text to a checked configuration.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use engine::NetworkConfig;
use tapio::{HostUse, Netns};

use super::check::{Devices, check};
use super::checked::{Config, Port};
use super::error::ConfigError;
use super::origin::Source;
use super::settings::Settings;
use super::{file, host, text, value};
use crate::mistake::Mistakes;

impl Config {
    /// Reads and checks the file at `path`. The name servers to offer where the file names none are the host's.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = text::read_file(path)?;
        Ok(Self::parse_here(&path.display().to_string(), &text, &host::name_servers())?)
    }

    /// Checks `text`. Messages call it `name`. `name_servers` are offered by DHCP on networks that name none.
    pub fn parse(name: &str, text: &str, name_servers: &[Ipv4Addr]) -> Result<Self, Mistakes> {
        Self::parse_on(name, text, name_servers, &|_, _| None)
    }

    /// As [`parse`](Self::parse), and it must fit to what the host has on its devices.
    fn parse_here(name: &str, text: &str, name_servers: &[Ipv4Addr]) -> Result<Self, Mistakes> {
        Self::parse_on(name, text, name_servers, &look)
    }

    fn parse_on(
        name: &str,
        text: &str,
        name_servers: &[Ipv4Addr],
        devices: Devices<'_>,
    ) -> Result<Self, Mistakes> {
        let wrong = |mistakes| Mistakes::new(name, text, mistakes);
        let file = file::read(text).map_err(wrong)?;
        let mut config = check(&file, text, name_servers, devices).map_err(wrong)?;
        config.settings = Settings::read(text);
        let (name, text) = (name.to_owned(), text.to_owned());
        config.source = Arc::new(Source { name, text, name_servers: name_servers.to_vec() });
        for network in &config.networks {
            if let Some(dhcp) =
                network.interface.as_ref().and_then(|interface| interface.settings.dhcp.as_ref())
            {
                let servers = dhcp.dns.iter().map(ToString::to_string).collect();
                config.settings.set_name_servers(&network.name, servers);
            }
        }
        Ok(config)
    }
}

/// Reads the keys of a port that is to come to `network`, whose ports have this `mtu` unless they say another.
pub(super) fn port(
    name: &str,
    keys: &str,
    network: &NetworkConfig,
    mtu: Option<u16>,
) -> Result<Port, Mistakes> {
    value::name(name).map_err(|wrong| Mistakes::new("port", name, vec![wrong.at(0..name.len())]))?;
    let wrong = |mistakes| Mistakes::new("port", keys, mistakes);
    let file = file::read_port(name, keys, network, mtu).map_err(wrong)?;
    let config = check(&file, keys, &[], &look).map_err(wrong)?;
    let mut ports = config.networks.into_iter().flat_map(|network| network.ports);
    Ok(ports.next().expect("what is read of a port without mistakes is the port"))
}

/// What can't be looked at is said when it is to be opened.
fn look(device: &str, netns: Option<&Netns>) -> Option<HostUse> {
    HostUse::of(device, netns).ok().flatten()
}
