//! The DNS forwarder, asked by dig, with dnsmasq as the server that it asks.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::host::{Background, DEVICE, Host};
use crate::switch::{Folder, Switch, tap, wait_until};

/// A guest, a switch, and an outside host with name servers.
struct Lab {
    guest: Host,
    outside: Host,
    switch: Switch,
}

impl Lab {
    /// The network has these keys more.
    fn new(keys: &str) -> Self {
        let (guest, outside) = (Host::new(), Host::new());
        let switch = Switch::start(&config(&guest, &outside, keys));
        let lab = Self { guest, outside, switch };
        lab.set_up();
        lab
    }

    /// The host that the switch runs on is this one, with this `/etc`.
    fn with_etc(host: &Host, etc: &Folder) -> Self {
        let (guest, outside) = (Host::new(), Host::new());
        let switch = Switch::start_with_etc(host, &config(&guest, &outside, ""), etc.path());
        let lab = Self { guest, outside, switch };
        lab.set_up();
        lab
    }

    fn set_up(&self) {
        self.guest.address("192.168.122.10/24");
        self.guest.gateway("192.168.122.1");
        self.outside.address("10.180.13.1/24");
        for address in ["203.0.113.80", "203.0.113.81", "10.0.0.80"] {
            self.outside.run(&format!("ip address add {address}/32 dev lo"));
        }
    }

    /// What dig prints for a question to the gateway.
    #[track_caller]
    fn dig(&self, question: &str) -> String {
        self.guest.run(&format!("dig +tries=1 +time=12 @192.168.122.1 {question}"))
    }

    #[track_caller]
    fn short(&self, question: &str) -> String {
        self.dig(&format!("+short {question}")).trim().to_owned()
    }

    /// The outcome, as `NOERROR`.
    #[track_caller]
    fn status(&self, question: &str) -> String {
        let text = self.dig(question);
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or_else(|| panic!("{text}")).to_owned()
    }
}

fn config(guest: &Host, outside: &Host, keys: &str) -> String {
    format!(
        "[network.default]\nmode = \"nat\"\naddress = \"192.168.122.1/24\"\nuplink = \"wan\"\n\
         dhcp = \"192.168.122.100-192.168.122.200\"\ndomain = \"lan\"\n{keys}{}\
         [uplink.wan]\ntype = \"tap\"\ndevice = \"{DEVICE}\"\nnetns = \"{outside}\"\n\
         address = \"10.180.13.2/24\"\ngateway = \"10.180.13.1\"\n",
        tap("default", "a", guest),
    )
}

/// dnsmasq on a host, at this address, with what it knows.
fn dnsmasq(host: &Host, address: &str, knows: &str) -> Background {
    let server = host.start(&format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --no-daemon --user=root --pid-file= \
         --bind-interfaces --listen-address={address} --local-ttl=300 --local=/example/ --local=/test/ --cache-size=0 {knows}"
    ));
    wait_until("dnsmasq answers", || {
        host.try_run(&format!("dig +tries=1 +time=1 +short @{address} ready.example")).is_ok()
    });
    server
}

const UPSTREAM: &str = "dns-upstream = [\"10.180.13.1\"]\n";

#[test]
fn guests_ask_the_gateway_and_it_asks_by_the_uplink() {
    let lab = Lab::new(&format!("{UPSTREAM}hosts = [\"printer=192.168.122.50\", \"repo.corp=10.1.2.3\"]\n"));
    let long: String = (0..12).map(|n| format!("--txt-record=big.example,{n}{} ", "x".repeat(200))).collect();
    let _server = dnsmasq(
        &lab.outside,
        "10.180.13.1",
        &format!(
            "--address=/web.example/203.0.113.80 --cname=www.test,web.test --host-record=web.test,203.0.113.81 {long}"
        ),
    );
    assert_eq!(lab.short("web.example"), "203.0.113.80");
    assert_eq!(lab.short("+tcp web.example"), "203.0.113.80");
    assert_eq!(lab.short("www.test").lines().last(), Some("203.0.113.81"));
    assert_eq!(lab.status("nowhere.example"), "NXDOMAIN");
    // By TCP from the server to the switch, and from there to the guest.
    assert_eq!(lab.short("big.example TXT").lines().count(), 12);
    let cut = lab.dig("+ignore +noedns big.example TXT");
    assert!(cut.contains(" tc ") && cut.contains("ANSWER: 0"), "{cut}");
    assert_eq!(lab.short("printer"), "192.168.122.50");
    assert_eq!(lab.short("PRINTER.lan"), "192.168.122.50");
    assert_eq!(lab.short("-x 192.168.122.50"), "printer.lan.");
    assert_eq!(lab.short("repo.corp"), "10.1.2.3");
    let names = lab.switch.show("names");
    assert_eq!((&names[0]["name"], &names[0]["source"]), (&"printer".into(), &"hosts".into()));
    assert_eq!(lab.status("printer.lan AAAA"), "NOERROR");
    assert_eq!(lab.status("nobody.lan"), "NXDOMAIN");
    assert_eq!(lab.status("nobody"), "NXDOMAIN");
    assert_eq!(lab.status("-x 192.168.122.77"), "NXDOMAIN");
    assert_eq!(lab.status("+opcode=IQUERY web.example"), "NOTIMP");
    assert_eq!(lab.status("+edns=5 +noednsnegotiation web.example"), "BADVERS");
    assert_eq!(lab.status("web.example CH TXT"), "REFUSED");
}

#[test]
fn a_kept_answer_needs_no_server_and_grows_old() {
    let lab = Lab::new(UPSTREAM);
    let server = dnsmasq(&lab.outside, "10.180.13.1", "--address=/web.example/203.0.113.80");
    let ttl = |text: &str| -> u32 {
        let line = text.lines().find(|line| line.starts_with("web.example") && line.contains("203.0.113.80"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    let first = ttl(&lab.dig("web.example"));
    drop(server);
    wait_until("the answer is older", || ttl(&lab.dig("web.example")) < first);
    assert_eq!(lab.status("other.example"), "SERVFAIL");
}

#[test]
fn the_next_server_is_asked_within_five_seconds_and_the_guest_told_within_ten() {
    let lab = Lab::new("dns-upstream = [\"10.180.13.3\", \"10.180.13.1\"]\n");
    let server = dnsmasq(&lab.outside, "10.180.13.1", "--address=/web.example/203.0.113.80");
    // It is there, and says nothing.
    lab.outside.address("10.180.13.3/24");
    let silent = lab.outside.enter(|| UdpSocket::bind("10.180.13.3:53").unwrap());
    let start = Instant::now();
    assert_eq!(lab.short("web.example"), "203.0.113.80");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(server);
    let start = Instant::now();
    assert_eq!(lab.status("other.example"), "SERVFAIL");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn the_hosts_own_resolvers_are_asked_and_followed() {
    let (host, etc) = (Host::new(), Folder::new());
    let file = etc.path().join("resolv.conf");
    fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    let _first = dnsmasq(&host, "127.0.0.1", "--address=/web.example/203.0.113.1");
    let _second = dnsmasq(&host, "127.0.0.2", "--address=/web.example/203.0.113.2");
    let lab = Lab::with_etc(&host, &etc);
    let long: String = (0..12).map(|n| format!("--txt-record=big.example,{n}{} ", "x".repeat(200))).collect();
    let _third = dnsmasq(&lab.outside, "10.180.13.1", &format!("--address=/example/203.0.113.3 {long}"));
    assert_eq!(lab.short("web.example"), "203.0.113.1");
    let follows = |question: &str, expected: &str| {
        let start = Instant::now();
        wait_until("the file is followed", || lab.short(question) == expected);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    };
    fs::write(&file, "# in place\nnameserver 127.0.0.2\n").unwrap();
    follows("a.web.example", "203.0.113.2");
    fs::write(etc.path().join("new"), "nameserver 10.180.13.1\n").unwrap();
    fs::rename(etc.path().join("new"), &file).unwrap();
    // Only the uplink leads there; what the others said of names is forgotten.
    follows("a.web.example", "203.0.113.3");
    assert_eq!(lab.short("big.example TXT").lines().count(), 12);
}

#[test]
fn leases_have_names_for_as_long_as_they_last() {
    let lab = Lab::new(UPSTREAM);
    let folder = Folder::new();
    let script = folder.path().join("script");
    let body =
        "#!/bin/sh\ncase $1 in bound) ip address add $ip/$mask dev $interface; echo $ip >${0%/*}/ip;; esac\n";
    fs::write(&script, body).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    lab.guest.run("ip address flush dev eth0");
    let script = script.display();
    lab.guest.run(&format!("busybox udhcpc -f -q -n -t 4 -T 2 -i {DEVICE} -s {script} -x hostname:Build-1"));
    let address = fs::read_to_string(folder.path().join("ip")).unwrap().trim().to_owned();
    assert_eq!(lab.short("build-1.lan"), address);
    assert_eq!(lab.short("build-1"), address);
    assert_eq!(lab.short(&format!("-x {address}")), "build-1.lan.");
}

#[test]
fn the_uplinks_side_gets_no_answers() {
    let lab = Lab::new(UPSTREAM);
    let answered = lab.outside.try_run("dig +tries=1 +time=1 @10.180.13.2 printer.lan");
    assert!(answered.is_err(), "{answered:?}");
    assert!(lab.outside.try_run("dig +tcp +tries=1 +time=1 @10.180.13.2 printer.lan").is_err());
}

#[test]
fn guests_go_only_where_allowed_names_lead_to() {
    let keys = format!(
        "{UPSTREAM}allow-names = [\"*.debian.test\", \"web.test\", \"inside.test\", \"brief.test\"]\n"
    );
    let lab = Lab::new(&keys);
    let _server = dnsmasq(
        &lab.outside,
        "10.180.13.1",
        "--host-record=deb.debian.test,203.0.113.80 --host-record=evil.test,203.0.113.81 \
         --host-record=inside.test,10.0.0.80 --cname=web.test,cdn.test --host-record=cdn.test,203.0.113.81,300 \
         --host-record=brief.test,203.0.113.82,0",
    );
    lab.outside.run("ip address add 203.0.113.82/32 dev lo");
    // Hard-coded, and other resolvers.
    lab.guest.cannot_ping("203.0.113.80");
    assert!(lab.guest.try_run("dig +tries=1 +time=1 @10.180.13.1 deb.debian.test").is_err());
    assert!(lab.guest.try_run("dig +tcp +tries=1 +time=1 @203.0.113.80 deb.debian.test").is_err());
    assert_eq!(lab.short("deb.debian.test"), "203.0.113.80");
    lab.guest.ping("203.0.113.80");
    lab.guest.cannot_ping("203.0.113.81");
    // A name that isn't allowed, nor asked for: it could carry data out.
    assert_eq!(lab.status("evil.test"), "REFUSED");
    assert_eq!(lab.status("debian.test"), "REFUSED");
    lab.guest.cannot_ping("203.0.113.81");
    // Where an allowed alias leads to.
    assert_eq!(lab.status("cdn.test"), "REFUSED");
    assert_eq!(lab.short("web.test").lines().last(), Some("203.0.113.81"));
    lab.guest.ping("203.0.113.81");
    // An allowed name that leads behind the switch.
    assert_eq!(lab.status("inside.test"), "REFUSED");
    lab.guest.cannot_ping("10.0.0.80");
    // One that lasts no time at all leads there for long enough to go, which is two seconds, and no longer.
    wait_until("who asked just before gets there", || {
        lab.short("brief.test") == "203.0.113.82"
            && lab.guest.try_run("ping -n -c 1 -W 1 203.0.113.82").is_ok()
    });
    wait_until("the name's time is over", || lab.guest.try_run("ping -n -c 1 -W 1 203.0.113.82").is_err());
    for said in ["evil.test", "cdn.test", "inside.test", "203.0.113.80", "brief.test"] {
        // The log is limited: who is refused again is named again.
        wait_until("the log names it", || {
            let _ = lab.guest.try_run("ping -n -c 1 -W 1 203.0.113.82");
            lab.switch.log().lines().any(|line| line.contains("refused") && line.contains(said))
        });
    }
    let drops = lab.switch.show("drops").to_string();
    assert!(drops.contains("name_not_allowed"), "{drops}");
}

#[test]
fn junk_is_counted_and_harms_nobody() {
    let lab = Lab::new(UPSTREAM);
    let _server = dnsmasq(&lab.outside, "10.180.13.1", "--address=/web.example/203.0.113.80");
    lab.guest.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let loops = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01";
        let answer = b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
        for message in [&loops[..], &answer[..], b"", b"\xff", &[0xff; 1200]] {
            socket.send_to(message, "192.168.122.1:53").unwrap();
        }
    });
    assert_eq!(lab.short("web.example"), "203.0.113.80");
    let drops = lab.switch.show("drops").to_string();
    assert!(drops.contains("bad_dns"), "{drops}");
}
