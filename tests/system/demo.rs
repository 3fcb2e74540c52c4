//! The demo, which is the first thing that a newcomer sees.

use std::fs;
use std::process::{Command, Stdio};

use crate::switch::{tapswitch, wait_until};

#[test]
fn the_demo_shows_each_step_with_its_result_and_succeeds() {
    let output = tapswitch(&["demo"]);
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}\n{log}", output.status);
    assert_eq!(text.matches('✓').count(), 10, "{text}");
    for failure_or_colour in ['✗', '\x1b'] {
        assert!(!text.contains(failure_or_colour), "{text}");
    }
}

#[test]
fn a_demo_that_is_killed_takes_its_switch_along() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tapswitch"));
    let mut demo = demo.arg("demo").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let folder = std::env::temp_dir().join(format!("tapswitch-demo-{}", demo.id()));
    let control = folder.join("control.sock").display().to_string();
    let answers = || tapswitch(&["show", "ports", "--control", &control]).status.success();
    wait_until("the demo's switch answers", answers);
    demo.kill().expect("it runs");
    demo.wait().expect("it is ours");
    wait_until("its switch is gone", || !answers());
    fs::remove_dir_all(folder).expect("nobody else has this name");
}
