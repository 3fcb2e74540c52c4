//! What another program makes of the NAT: coturn's behaviour discovery. RFC 5780.

use crate::host::Host;
use crate::switch::{Switch, tap, wait_until};

const BEHAVIOURS: [(&str, &str); 3] = [
    ("endpoint-independent", "Endpoint Independent"),
    ("address-dependent", "Address Dependent"),
    ("address-and-port-dependent", "Address and Port Dependent"),
];

/// What coturn says of a NAT with these settings: a guest asks a server with two addresses outside.
fn discovered(mapping: &str, filtering: &str) -> String {
    let (guest, outside) = (Host::new(), Host::new());
    let switch = Switch::start(&format!(
        "[nat]\nmapping = \"{mapping}\"\nfiltering = \"{filtering}\"\n\
         [network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"eth0\"\nnetns = \"{outside}\"\naddress = \"10.180.13.2/24\"\n",
        tap("default", "guest", &guest),
    ));
    guest.address("192.168.122.10/24");
    guest.gateway("192.168.122.1");
    for address in ["10.180.13.1/24", "10.180.13.3/24"] {
        outside.address(address);
    }
    let _server = outside.start(&format!(
        "turnserver -n --no-auth --no-tls --no-dtls --no-cli -L 10.180.13.1 -L 10.180.13.3 -p 3478 \
         --alt-listening-port 3479 --log-file stdout --pidfile /tmp/tapswitch-turnserver-{outside}.pid"
    ));
    let listens = || outside.run("ss -Hlun").matches("10.180.13.3:3479").count() > 0;
    wait_until("the server listens", listens);
    let report = guest.run("turnutils_natdiscovery -m -f -p 3478 10.180.13.1");
    switch.terminate();
    let _ = std::fs::remove_file(format!("/tmp/tapswitch-turnserver-{outside}.pid"));
    report
}

fn judge(mapping: (&str, &str)) {
    for filtering in BEHAVIOURS {
        let report = discovered(mapping.0, filtering.0);
        for verdict in
            [format!("NAT with {} Mapping!", mapping.1), format!("NAT with {} Filtering!", filtering.1)]
        {
            assert!(report.contains(&verdict), "{}, {}: no {verdict:?} in\n{report}", mapping.0, filtering.0);
        }
    }
}

#[test]
fn coturn_sees_endpoint_independent_mapping_with_each_filtering() {
    judge(BEHAVIOURS[0]);
}

#[test]
fn coturn_sees_address_dependent_mapping_with_each_filtering() {
    judge(BEHAVIOURS[1]);
}

#[test]
fn coturn_sees_address_and_port_dependent_mapping_with_each_filtering() {
    judge(BEHAVIOURS[2]);
}
