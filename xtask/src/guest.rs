//! The kernel and the initramfs that the tests' guests boot: Debian's kernel, busybox and the drivers of the network
//! cards that QEMU has. Made once, below the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::cpio::Archive;

/// Makes what is missing. The tests look for it at the same place.
pub fn provide() -> io::Result<()> {
    let cache = cache()?;
    let (kernel, initramfs) = (cache.join("vmlinuz"), cache.join("initramfs"));
    if kernel.exists() && initramfs.exists() {
        return Ok(());
    }
    println!("xtask: fetching a kernel for guests");
    let unpacked = cache.join("package");
    fetch_kernel(&cache, &unpacked)?;
    fs::write(&initramfs, make_initramfs(&only_entry(&unpacked.join("lib/modules"))?)?)?;
    // Last, because it says that all is there.
    fs::copy(find_kernel(&unpacked.join("boot"))?, &kernel)?;
    fs::remove_dir_all(unpacked)
}

/// Beside the profile's folder that this program is in.
fn cache() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or(io::ErrorKind::NotFound)?;
    Ok(target.join("guest-cache"))
}

/// Downloads the package that Debian's default kernel is in, and unpacks it without installing it.
fn fetch_kernel(cache: &Path, unpacked: &Path) -> io::Result<()> {
    match fs::remove_dir_all(cache) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(cache)?,
    }
    let depends = output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.ok_or_else(|| io::Error::other("apt-cache knows no linux-image-amd64"))?;
    output(Command::new("apt-get").args(["download", "-qq", package]).current_dir(cache))?;
    let file = only_entry(cache)?;
    output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(unpacked))?;
    fs::remove_file(file)
}

fn find_kernel(boot: &Path) -> io::Result<PathBuf> {
    let entries = fs::read_dir(boot)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    entries.into_iter().find(is_kernel).ok_or_else(|| io::Error::other("the package has no kernel"))
}

fn make_initramfs(modules: &Path) -> io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "modules", "proc", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.file("init", include_bytes!("guest-init.sh"));
    archive.file("bin/busybox", &fs::read("/bin/busybox")?);
    archive.file("etc/udhcpc", include_bytes!("guest-dhcp.sh"));
    let mut order = String::new();
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        archive.file(&format!("modules/{name}"), &fs::read(modules.join("kernel").join(module))?);
        order += &format!("{name}\n");
    }
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

fn only_entry(folder: &Path) -> io::Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    let first = entries.next().ok_or(io::ErrorKind::NotFound)??;
    Ok(first.path())
}

fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim())))
}

/// In the order in which they are loaded: each needs those before it.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
    "drivers/net/ethernet/intel/e1000/e1000.ko",
    "net/llc/llc.ko",
    "net/802/stp.ko",
    "net/802/mrp.ko",
    "net/802/garp.ko",
    "net/8021q/8021q.ko",
];
