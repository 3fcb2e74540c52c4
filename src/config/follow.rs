//! Puts the addresses that hosts have now into a plan, for the uplinks that share them.

use engine::{InterfaceConfig, InterfaceSettings, Reach};
use nat_engine::Condition;
use packet::{Ipv4Cidr, NetworkId, Protocol};
use tapio::{HostStack, PacketConfig, PortSpec, SharedAddress};

use super::plan::Plan;
use super::shared::{HostAddress, SharedUplink};

impl Plan {
    /// Puts what `look` finds on the devices of shared uplinks in the places that it belongs to. An address that overlaps a
    /// network's is taken for none.
    pub fn follow_hosts(&mut self, look: impl Fn(&PortSpec) -> Option<HostAddress>) {
        let found = self.shared.iter().map(|uplink| self.spec(uplink.port).and_then(&look));
        let hosts: Vec<_> = (0..)
            .zip(found)
            .map(|(nth, host)| host.filter(|host| self.overlapping(nth, host.address).is_none()))
            .collect();
        self.set_hosts(&hosts);
    }

    /// Puts these addresses there, one for each of the shared uplinks.
    pub(super) fn set_hosts(&mut self, hosts: &[Option<HostAddress>]) {
        for (nth, host) in hosts.iter().enumerate().take(self.shared.len()) {
            self.set_host(nth, *host);
        }
        for nth in 0..self.shared.len() {
            self.share_ports(nth);
        }
    }

    /// The network that has addresses of the subnet, too.
    pub fn overlapping(&self, nth: usize, subnet: Ipv4Cidr) -> Option<&str> {
        let others = self.runtime.networks.iter().filter(|network| network.id != self.shared[nth].network);
        let mut others = others.filter_map(|network| Some((network, network.interface.as_ref()?)));
        others
            .find(|(_, interface)| interface.address.overlaps(subnet))
            .map(|(network, _)| network.name.as_str())
    }

    fn set_host(&mut self, nth: usize, host: Option<HostAddress>) {
        let SharedUplink { network, port, ports, placeholder, host: before } = self.shared[nth].clone();
        let mtu = self.port_mtu(port);
        let of = |host: Option<HostAddress>| host.map_or(placeholder, |host| host.address.address());
        let (old, new) = (of(before), of(host));
        self.shared[nth].host = host;
        if let Some(network) = self.runtime.networks.get_mut(network.index()) {
            network.reach = Reach::Uplink(host.and_then(|host| host.gateway));
            let settings = InterfaceSettings { mtu, shared: Some(ports), ..InterfaceSettings::default() };
            network.interface =
                host.map(|HostAddress { address, mac, .. }| InterfaceConfig { mac, address, settings });
        }
        let (old, new) = (Ipv4Cidr::new(old, 32), Ipv4Cidr::new(new, 32).map(Condition::is));
        for rule in &mut self.runtime.rules.prerouting {
            let destination = &mut rule.matches.destination;
            if destination.is_some_and(|condition| !condition.negated && Some(condition.value) == old) {
                *destination = new;
            }
        }
    }

    /// Tells the port what the rules publish of the address.
    fn share_ports(&mut self, nth: usize) {
        let SharedUplink { port, host, .. } = self.shared[nth].clone();
        let address = host.map(|host| host.address.address());
        let own = |network: NetworkId| {
            let network = self.runtime.networks.get(network.index())?;
            network.interface.as_ref().map(|interface| interface.address.address())
        };
        let ports_of = |protocol: Protocol| {
            let ports = address.map(|address| self.runtime.rules.published(address, protocol, own));
            ports.into_iter().flatten().map(move |range| (protocol, range))
        };
        let published = [Protocol::TCP, Protocol::UDP].into_iter().flat_map(ports_of).collect();
        let place = self.devices.binary_search_by_key(&port, |(id, _)| *id);
        let Some((_, spec)) = place.ok().map(|place| &mut self.devices[place]) else { return };
        if let Some(packet) = spec.of::<PacketConfig>() {
            let host = HostStack::Shared(SharedAddress { address, published });
            *spec = PacketConfig { host, ..packet.clone() }.into();
        }
    }
}
