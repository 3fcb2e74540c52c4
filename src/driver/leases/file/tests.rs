//! The file, whatever is in it.

use super::super::tests::Folder;
use super::*;

fn lease(address: [u8; 4]) -> Lease {
    let name = Some("vm-1".into());
    let lease = Lease::new("lan".into(), address.into(), MacAddr::local(7), &[1, 2, 0xff], name);
    Lease { expires: 1_800_000_000, ..lease }
}

/// What `read` says to these bytes.
fn refusal(bytes: &[u8]) -> String {
    let folder = Folder::new();
    fs::write(folder.path("leases"), bytes).unwrap();
    read(&folder.path("leases")).unwrap_err().to_string()
}

#[test]
fn what_was_written_is_read_and_is_as_documented() {
    let folder = Folder::new();
    let leases = [lease([10, 0, 0, 2]), Lease { host_name: None, ..lease([10, 0, 0, 3]) }];
    let bytes = to_bytes(leases.iter()).unwrap();
    let expected = "{\"tapswitch\":\"leases\",\"format\":1}\n\
        {\"network\":\"lan\",\"address\":\"10.0.0.2\",\"mac\":\"02:00:00:00:00:07\",\"client\":\"0102ff\",\
        \"host_name\":\"vm-1\",\"expires\":1800000000}\n";
    assert!(str::from_utf8(&bytes).unwrap().starts_with(expected));
    assert!(read(&folder.path("leases")).unwrap().is_none());
    fs::write(folder.path("leases"), &bytes).unwrap();
    assert_eq!(read(&folder.path("leases")).unwrap().unwrap(), leases);
    assert_eq!(leases[0].client().unwrap(), (MacAddr::local(7), Box::from([1, 2, 0xff])));
}

#[test]
fn a_file_that_is_damaged_or_another_is_refused_as_a_whole() {
    let sound = to_bytes([lease([10, 0, 0, 2]), lease([10, 0, 0, 3])].iter()).unwrap();
    let text = String::from_utf8(sound.clone()).unwrap();
    for foreign in ["", "\n", "[network.lan]\n", "{}\n", "{\"tapswitch\":\"flows\",\"format\":1}\n"] {
        assert_eq!(refusal(foreign.as_bytes()), "these are no leases", "{foreign:?}");
    }
    assert_eq!(refusal(&[0; 100_000]), "these are no leases");
    let newer = text.replace("\"format\":1", "\"format\":2");
    assert_eq!(refusal(newer.as_bytes()), "kept in format 2, but this version reads format 1");
    assert_eq!(refusal(&sound[..sound.len() - 1]), "line 3 is damaged");
    assert_eq!(refusal(&sound[..sound.len() - 40]), "line 3 is damaged");
    for (from, to) in [
        ("10.0.0.2", "10.0.0.256"),
        ("02:00", "03:00"),
        ("0102ff", "0102f"),
        ("0102ff", ""),
        ("0102ff", "é12ff"),
        ("vm-1", "\\u001b[2J"),
        ("\"expires\":", "\"expires\":-"),
        ("\"network\"", "\"networks\""),
        ("0102ff", &"00".repeat(2000)),
    ] {
        assert_eq!(refusal(text.replacen(from, to, 1).as_bytes()), "line 2 is damaged", "{from} {to}");
    }
    for no_file in ["/dev/zero", "/"] {
        assert_eq!(read(Path::new(no_file)).unwrap_err().to_string(), "these are no leases");
    }
}
