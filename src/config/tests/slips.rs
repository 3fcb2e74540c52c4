//! Slips that leave no TOML, or no text: what is said of each.

use std::path::Path;

use super::super::Config;
use super::super::text::decode;

/// Lines below a section's header, which is line 1, and the messages.
type Case = (&'static str, &'static [&'static str]);

fn said(text: &str) -> Vec<String> {
    let said = Config::parse("t", text, &[]).expect_err(text).to_string();
    said.lines().map(|line| line.strip_prefix("t:").unwrap_or(line).to_owned()).collect()
}

fn check(cases: &[Case]) {
    for (lines, expected) in cases {
        let mut said = said(&format!("[network.a]\n{lines}\n"));
        said.retain(|said| !said.starts_with("1:10: `mode` is missing"));
        assert_eq!(said, *expected, "{lines}");
    }
}

#[test]
fn a_value_without_quotes_is_shown_with_them_whatever_it_looks_like() {
    for (key, value) in [
        ("mode", "nat"),
        ("uplink", "wan"),
        ("uplink", "in"),
        ("address", "192.168.122.1/24"),
        ("dhcp", "192.168.122.2-192.168.122.254"),
        ("mac", "52:54:00:12:34:56"),
        ("mac", "02:00:00:00:00:01"),
        ("publish", "8080:192.168.122.10:80/tcp"),
        ("domain", "lan.example.org"),
        ("path", "/run/tapswitch-guests/x.sock"),
        ("device", "eth0"),
        ("device", "0eth"),
        ("gateway", "10.0.0.1"),
        ("gateway", "fd00::1"),
        ("x", "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE"),
        ("x", "_"),
        ("x", "--help"),
        ("x", "+x"),
        ("x", "-0xff"),
        ("x", "1979-05-27x"),
        ("x", "infinite"),
        ("x", ".5"),
        ("x", "5."),
        ("x", "1e"),
        ("x", "0xzz"),
    ] {
        for line in
            [format!("{key} = {value}"), format!("{key}={value} # \"why\"\r"), format!("{key} = {value}\"")]
        {
            let column = line.find('=').unwrap() + if line.contains("= ") { 3 } else { 2 };
            let help = if matches!(value, "0eth" | "1e" | "0xzz") {
                "write a number alone, or a text"
            } else {
                "write the value"
            };
            let expected = format!(
                "2:{column}: `{value}` is a text without quotes; {help} in quotes: {key} = \"{value}\""
            );
            assert_eq!(said(&format!("[network.a]\n{line}\n")), [expected], "{line}");
        }
    }
}

#[test]
fn quotes_that_are_missing_or_wrong_are_pointed_at() {
    check(QUOTES);
}

#[test]
fn typographic_quotes_blanks_and_dashes_are_called_so() {
    check(TYPOGRAPHY);
}

#[test]
fn a_key_without_its_value_is_pointed_at() {
    check(KEYS);
}

#[test]
fn a_file_of_one_long_line_of_slips_is_explained_in_bounded_time() {
    let text = format!("dns = [{}", "9.9.9.9, \"“x”\" y, ".repeat(100_000));
    assert!(said(&text).len() > 10);
}

#[test]
fn another_encoding_is_named_with_what_converts_it() {
    let said = |bytes: &[u8]| decode("t", bytes.to_vec()).unwrap_err().to_string();
    let text = "[engine]\nworkers = 1\n";
    let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let expected =
        "t:1:1: this file is written in UTF-16; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 t >NEW";
    for (mark, unit) in
        [(&[0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), (&[0xfe, 0xff], u16::to_be_bytes)]
    {
        assert_eq!(said(&[&mark[..], &utf16(unit)].concat()), expected);
        assert_eq!(said(&utf16(unit)), expected);
    }
    assert!(said(b"\xff\xfe\0\0[\0\0\0").contains("written in UTF-32"));
    assert_eq!(
        said(b"[engine]\n# caf\xe9\n"),
        "t:2:6: the byte 0xe9 is not UTF-8; save the file as UTF-8; if it is in Latin-1: iconv -f LATIN1 -t UTF-8 t >NEW"
    );
    assert_eq!(
        said(b"[engine]\n\0"),
        "t:2:1: here is a NUL byte; remove it; a file with many of them is no text, or damaged"
    );
    assert!(said(&[0; 100]).contains("NUL byte"));
}

#[test]
fn the_mark_of_utf8_and_windows_line_ends_make_no_difference() {
    let text = decode("t", b"\xef\xbb\xbf[engine]\r\nworkers = 1\r\n".to_vec()).unwrap();
    assert!(Config::parse("t", &text, &[]).is_ok());
    let text = decode("t", b"\xef\xbb\xbfmode = nat\r\n".to_vec()).unwrap();
    let rendered = Config::parse("t", &text, &[]).unwrap_err().render(false);
    assert!(rendered.contains("t:1:8") && rendered.contains("1 | mode = nat\n"), "{rendered}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_a_remedy_of_its_own() {
    let said = |path: &str| Config::load(Path::new(path)).unwrap_err().to_string();
    assert_eq!(
        said("/nope.toml"),
        "cannot read /nope.toml: No such file or directory (os error 2); write it, or name another file"
    );
    assert_eq!(said("/proc"), "cannot read /proc: Is a directory (os error 21); name a file in it");
    assert!(
        said("/dev/zero").contains("/dev/zero is no file, but a pipe, a device or a socket; name a file")
    );
    let long = std::env::temp_dir().join(format!("tapswitch-long-{}", std::process::id()));
    std::fs::File::create(&long).and_then(|file| file.set_len(10 << 30)).unwrap();
    let told = said(long.to_str().unwrap());
    std::fs::remove_file(&long).unwrap();
    assert!(told.contains("longer than 4194304 bytes"), "{told}");
    assert!(!said("/dev/null/x").contains("--config"));
}

#[rustfmt::skip]
const QUOTES: &[Case] = &[
    ("mode = nat\nuplink = wan", &[r#"2:8: `nat` is a text without quotes; write the value in quotes: mode = "nat""#, r#"3:10: `wan` is a text without quotes; write the value in quotes: uplink = "wan""#]),
    ("dns = [9.9.9.9, 1.1.1.1]", &[r#"2:8: `9.9.9.9` is a text without quotes; write the value in quotes: "9.9.9.9""#, r#"2:17: `1.1.1.1` is a text without quotes; write the value in quotes: "1.1.1.1""#]),
    ("dns = [\n  9.9.9.9,\n]", &[r#"3:3: `9.9.9.9` is a text without quotes; write the value in quotes: "9.9.9.9""#]),
    ("port.x = { device = \"x\", type = tap }", &[r#"2:33: `tap` is a text without quotes; write the value in quotes: type = "tap""#]),
    ("mode = `nat`", &[r#"2:8: `nat` is a text without quotes; write the value in quotes: mode = "nat""#]),
    ("mode = \"nat", &[r#"2:8: this text has no closing quote; write a quote at its end: mode = "nat""#]),
    ("mode = 'nat\nmtu = 1500", &[r#"2:8: this text has no closing quote; write a quote at its end: mode = "nat""#]),
    ("pcp = True", &["2:7: `True` is a text without quotes; write it in small letters: true"]),
    ("pcp = yes", &[r#"2:7: `yes` is a text without quotes; write true or false, or a text in quotes: pcp = "yes""#]),
    ("mtu = 1500B", &[r#"2:7: `1500B` is a text without quotes; write a number alone, or a text in quotes: mtu = "1500B""#]),
    ("mtu = 01500", &["2:7: unexpected leading zero, expected nothing; write the number without it, or a text in quotes"]),
    ("mode = nan", &["2:8: this is a fraction, not a text; write it in quotes"]),
    ("domain = true", &["2:10: this is true or false, not a text; write it in quotes"]),
    ("domain = a\u{1b}[2Jb", &["2:10: `a\u{fffd}[2Jb` is a text without quotes; write the value in quotes: domain = \"a\\u001B[2Jb\""]),
];

#[rustfmt::skip]
const TYPOGRAPHY: &[Case] = &[
    ("mode = “nat”", &[r#"2:8: `“` is a typographic quote; write straight ones: mode = "nat""#]),
    ("mode = ‘nat’", &[r#"2:8: `‘` is a typographic quote; write straight ones: mode = "nat""#]),
    ("mode = „nat“", &[r#"2:8: `„` is a typographic quote; write straight ones: mode = "nat""#]),
    ("mode = «nat»", &[r#"2:8: `«` is a typographic quote; write straight ones: mode = "nat""#]),
    ("mode = \"nat”", &[r#"2:12: `”` is a typographic quote; write straight ones: mode = "nat""#]),
    ("mode = “nat\"", &[r#"2:8: `“` is a typographic quote; write straight ones: mode = "nat""#]),
    ("dns = [“9.9.9.9”, \"1.1.1.1\"]", &[r#"2:8: `“` is a typographic quote; write straight ones: "9.9.9.9""#]),
    ("[network.“b”]", &[r#"2:10: `“` is a typographic quote; write straight ones: network."b""#]),
    ("mode = \"“nat”\"", &["2:8: `“nat”` is not one of the choices; write a straight quote in place of `“`, or none"]),
    ("mode = 'nat' # “why”", &[r#"2:8: a network of this mode needs an uplink; write uplink = "wan" in this network"#]),
    ("dhcp = '10.0.0.2–10.0.0.9'", &["2:8: `10.0.0.2–10.0.0.9` is not a range of addresses; write a plain hyphen in place of `–`"]),
    ("mode\u{a0}= 'nat'", &["2:5: here is no plain blank, but the character U+00A0; write a plain blank, or none"]),
    ("mode =\u{a0}'nat'", &["2:7: here is no plain blank, but the character U+00A0; write a plain blank, or none"]),
    ("mode = 'nat\u{200b}'", &["2:8: `nat\u{200b}` is not one of the choices; remove the character U+200B"]),
];

#[rustfmt::skip]
const KEYS: &[Case] = &[
    ("mode", &["2:1: `mode` has no value; write mode = …"]),
    ("mode =", &[r#"2:7: `mode` has no value; write mode = "…""#]),
    ("mode: \"nat\"", &[r#"2:1: behind `mode` stands a colon, not `=`; write mode = "nat""#]),
    ("mode \"nat\"", &[r#"2:1: behind `mode` is no `=`; write mode = "nat""#]),
    ("lease time = 60", &["2:1: there is a blank or another foreign character behind `lease`; write it as one word, such as lease-time"]),
    ("mode == \"nat\"", &["2:7: extra `=`, expected nothing; remove one of the two"]),
    ("mode = \"nat\";", &["2:13: unexpected key or value, expected newline, `#`; write one key in a line, nothing behind its value, and `#` before a comment"]),
    ("[network.b\nmode = \"nat\"", &["2:11: unclosed table, expected `]`; write the closing bracket of the section's name"]),
    ("dns = [ '9.9.9.9' '1.1.1.1' ]", &["2:19: missing comma between array elements, expected `,`; write a comma between the two"]),
];
