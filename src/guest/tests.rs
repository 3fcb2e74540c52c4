//! What is printed for each type of port.

use super::*;

const CONFIG: &str = "
[network.lan]
mode = 'internal'
[network.lan.port.tap]
type = 'tap'
[network.lan.port.packet]
type = 'packet'
device = 'tap1'
static-macs = ['02:00:00:00:00:07']
[network.lan.port.stream]
type = 'stream'
path = '/run/a,b/s.sock'
mtu = 9000
[network.lan.port.client]
type = 'stream'
path = '/run/c.sock'
role = 'client'
[network.lan.port.vhost]
type = 'vhost-user'
path = '/run/v.sock'
[network.lan.port.jumbo]
type = 'vhost-user'
path = '/run/j.sock'
role = 'client'
mtu = 9000
[network.lan.port.dgram]
type = 'dgram'
path = '/run/switch'
peer = '/run/o''neill & <co>'
";

fn config() -> Config {
    let text = CONFIG.replace("'/run/o''neill & <co>'", "\"/run/o'neill & <co>\"");
    Config::parse("t", &text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn qemu_args(port: &str) -> String {
    Guest::of(&config(), &format!("lan/{port}")).unwrap().qemu_args("512M").unwrap()
}

fn libvirt_xml(port: &str) -> String {
    Guest::of(&config(), &format!("lan/{port}")).unwrap().libvirt_xml().unwrap()
}

#[test]
fn qemus_options_fit_to_the_type_of_port() {
    assert_eq!(
        qemu_args("packet"),
        "-netdev tap,id=net-packet,ifname=tap1,script=no,downscript=no \
         -device virtio-net-pci,netdev=net-packet,mac=02:00:00:00:00:07\n"
    );
    assert_eq!(
        qemu_args("stream"),
        "-netdev stream,id=net-stream,server=off,addr.type=unix,addr.path=/run/a,,b/s.sock \
         -device virtio-net-pci,netdev=net-stream,mac=52:54:00:cb:6c:d6,host_mtu=9000\n"
    );
    assert!(qemu_args("client").starts_with("-netdev stream,id=net-client,server=on,addr.type=unix,"));
    assert_eq!(
        qemu_args("vhost"),
        "-m 512M -object memory-backend-memfd,id=shared-memory,size=512M,share=on \
         -machine memory-backend=shared-memory -chardev socket,id=chr-vhost,path=/run/v.sock,reconnect=1 \
         -netdev vhost-user,id=net-vhost,chardev=chr-vhost \
         -device virtio-net-pci,netdev=net-vhost,mac=52:54:00:ca:57:fe\n"
    );
    let dgram = r"-netdev 'dgram,id=net-dgram,local.type=unix,local.path=/run/o'\''neill & <co>,remote.type=unix,remote.path=/run/switch' ";
    assert!(qemu_args("dgram").starts_with(dgram), "{}", qemu_args("dgram"));
}

#[test]
fn libvirts_element_fits_to_the_type_of_port() {
    let expected = "\
<interface type='ethernet'>
  <mac address='02:00:00:00:00:07'/>
  <target dev='tap1'/>
  <model type='virtio'/>
</interface>
";
    assert_eq!(libvirt_xml("packet"), expected);
    let vhost = libvirt_xml("vhost");
    assert!(
        vhost.contains("<access mode='shared'/>") && vhost.contains("<interface type='vhostuser'>"),
        "{vhost}"
    );
    assert!(vhost.contains("<source type='unix' path='/run/v.sock' mode='client'>"), "{vhost}");
    let stream = libvirt_xml("stream");
    assert!(stream.contains("<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"));
    assert!(
        stream.contains("  <qemu:arg value='-netdev'/>\n  <qemu:arg value='stream,id=net-stream,"),
        "{stream}"
    );
    assert!(stream.contains(",addr=0x10'/>"), "{stream}");
    let jumbo = libvirt_xml("jumbo");
    assert!(jumbo.contains("set its MTU itself: 9000") && !jumbo.contains("<mtu"), "{jumbo}");
    assert!(libvirt_xml("dgram").contains("/run/o&apos;neill &amp; &lt;co>,"), "{}", libvirt_xml("dgram"));
}

#[test]
fn a_tap_of_the_switchs_own_is_explained() {
    let error = Guest::of(&config(), "lan/tap").unwrap().qemu_args("1G").unwrap_err();
    assert_eq!(error, GuestError::TapIsTaken { device: "tap".into() });
    assert!(error.to_string().contains("with type = \"packet\""), "{error}");
    assert!(Guest::of(&config(), "lan/tap").unwrap().libvirt_xml().is_err());
}

#[test]
fn a_port_that_is_not_there_is_answered_with_those_that_are() {
    for place in ["lan/vm1", "lan", "wan/tap", ""] {
        let error = Guest::of(&config(), place).unwrap_err().to_string();
        assert!(error.contains("lan/tap, "), "{error}");
    }
}
