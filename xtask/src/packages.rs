//! The tools that tests and benchmarks call, and the Debian packages they come from.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, io};

use crate::privilege::Privilege;

/// A program that must be on the path, or at a path, and the Debian package that has it.
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// What the whole-system tests call.
pub const TEST_TOOLS: &[Tool] = &[
    tool("ip", "iproute2"),
    tool("ping", "iputils-ping"),
    tool("iperf3", "iperf3"),
    tool("busybox", "busybox-static"),
    tool("dhclient", "isc-dhcp-client"),
    tool("dnsmasq", "dnsmasq-base"),
    tool("dig", "bind9-dnsutils"),
    tool("turnutils_natdiscovery", "coturn"),
    tool("natpmpc", "natpmpc"),
    tool("iptables", "iptables"),
    tool("nsenter", "util-linux"),
    tool("setpriv", "util-linux"),
    tool("timeout", "coreutils"),
    tool("qemu-system-x86_64", "qemu-system-x86"),
    tool("dpdk-testpmd", "dpdk-dev"),
    tool("virt-xml-validate", "libvirt-clients"),
    tool("xmllint", "libxml2-utils"),
    tool("ovs-vswitchd", "openvswitch-switch"),
    tool("systemd-analyze", "systemd"),
    tool("systemd-tmpfiles", "systemd"),
];

/// What the benchmarks call.
pub const BENCH_TOOLS: &[Tool] = &[
    tool("ip", "iproute2"),
    tool("ping", "iputils-ping"),
    tool("iperf3", "iperf3"),
    tool("iptables", "iptables"),
    tool("nsenter", "util-linux"),
    tool("setpriv", "util-linux"),
];

/// What counts instructions.
pub const COUNT_TOOLS: &[Tool] = &[tool("valgrind", "valgrind")];

/// What the benchmark of vhost-user ports calls.
pub const VHOST_BENCH_TOOLS: &[Tool] = &[
    tool("dpdk-testpmd", "dpdk-dev"),
    tool("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", "openvswitch-switch-dpdk"),
    tool("setpriv", "util-linux"),
    tool("taskset", "util-linux"),
    tool("stdbuf", "coreutils"),
];

/// Installs what is missing where we may (root, with apt-get), else says what is missing.
pub fn provide(tools: &[Tool], privilege: Privilege) -> io::Result<()> {
    let mut missing: Vec<&str> =
        tools.iter().filter(|tool| !present(tool.program)).map(|tool| tool.package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if privilege != Privilege::Root || !present("apt-get") {
        let list = missing.join(" ");
        return Err(io::Error::other(format!(
            "not installed: {list}. On Debian: sudo apt-get install {list}"
        )));
    }
    println!("xtask: installing {}", missing.join(" "));
    // The package lists of a fresh machine are empty or old.
    if install(&missing)? || (apt_get(&["update", "-qq"])? && install(&missing)?) {
        return Ok(());
    }
    Err(io::Error::other(format!("apt-get could not install {}", missing.join(" "))))
}

fn install(packages: &[&str]) -> io::Result<bool> {
    let _guard = NoServices::new()?;
    apt_get(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}

/// Keeps the services of new packages from being started: tests run what they need themselves. invoke-rc.d(8).
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> io::Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // Gone already, if this fails.
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// The script that Debian's packages ask whether they may start their services.
const POLICY: &str = "/usr/sbin/policy-rc.d";

fn apt_get(args: &[&str]) -> io::Result<bool> {
    Ok(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status()?.success())
}

/// Whether `program` is on the path, or where Debian keeps the tools of root.
fn present(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.into_iter().any(|folder| is_file(&folder.join(program)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file())
}
