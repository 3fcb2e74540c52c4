//! What the host is set to.

use std::net::Ipv4Addr;

/// The host's name servers that guests can reach. A file that names only a resolver on the host itself, as
/// systemd-resolved's does, is passed over for the file with the servers behind it.
pub(super) fn name_servers() -> Vec<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| reachable(&text))
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

/// The IPv4 name servers of a resolv.conf(5) that aren't the host itself. Resolvers look at no more than three.
fn reachable(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .filter(|server: &Ipv4Addr| !server.is_loopback() && !server.is_unspecified())
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_ipv6_name_servers_are_not_offered() {
        let text = "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver\t10.0.0.53 \n\
                    nameserver fe80::1\noptions edns0\nnameserver 9.9.9.9";
        assert_eq!(reachable(text), [Ipv4Addr::new(10, 0, 0, 53), Ipv4Addr::new(9, 9, 9, 9)]);
    }
}
