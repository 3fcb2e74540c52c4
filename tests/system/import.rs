//! `tapswitch import`, with what the other programs really print.

use std::fs;
use std::process::Command;

use crate::switch::{Folder, tapswitch};

/// libvirt's own test driver keeps the networks: it needs no daemon and touches nothing.
fn dumped_by_virsh(folder: &Folder, xml: &str) -> String {
    let file = folder.path().join("define.xml");
    fs::write(&file, xml).expect("the folder exists");
    let name = xml.split("<name>").nth(1).and_then(|rest| rest.split('<').next()).expect("it has a name");
    let script = format!(
        "net-destroy default; net-undefine default; net-define {}; net-dumpxml '{name}'",
        file.display()
    );
    let output = Command::new("virsh")
        .args(["-q", "-c", "test:///default", &script])
        .output()
        .expect("virsh is there");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let start = printed.rfind("<network").unwrap_or_else(|| panic!("{xml}{output:?}"));
    printed[start..].to_owned()
}

#[test]
fn what_virsh_prints_becomes_a_whole_file_that_check_takes() {
    let folder = Folder::new();
    for xml in [
        include_str!("../../src/import/fixtures/default.xml"),
        include_str!("../../src/import/fixtures/keennet.xml"),
        include_str!("../../src/import/fixtures/route.xml"),
        include_str!("../../src/import/fixtures/open.xml"),
        include_str!("../../src/import/fixtures/isolated.xml"),
        include_str!("../../src/import/fixtures/very-isolated.xml"),
        include_str!("../../src/import/fixtures/ipv6.xml"),
        include_str!("../../src/import/fixtures/bridge.xml"),
        include_str!("../../src/import/fixtures/direct.xml"),
    ] {
        for xml in [xml.to_owned(), dumped_by_virsh(&folder, xml)] {
            let file = folder.path().join("dumped.xml");
            fs::write(&file, &xml).expect("the folder exists");
            let file = file.to_str().expect("ASCII");
            let valid =
                Command::new("virt-xml-validate").args([file, "network"]).output().expect("it is there");
            assert!(valid.status.success(), "{xml}{valid:?}");
            let imported = tapswitch(&["import", "libvirt", file, "--complete"]);
            assert!(imported.status.success(), "{xml}{imported:?}");
            fs::write(folder.config(), &imported.stdout).expect("the folder exists");
            let checked = tapswitch(&["check", folder.config().to_str().expect("ASCII")]);
            assert!(checked.status.success(), "{xml}{checked:?}");
        }
    }
}
