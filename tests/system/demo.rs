//! The demo, which is the first thing that a newcomer sees.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::switch::{Folder, tapswitch, wait_until};

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

/// A demo in a process group of its own, as a shell starts it, and its folder.
fn demo(output: &std::path::Path) -> (Child, std::path::PathBuf) {
    let output = fs::File::create(output).expect("the folder exists");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapswitch"));
    let demo =
        command.arg("demo").process_group(0).stdout(output).stderr(Stdio::null()).spawn().expect("it runs");
    let folder = std::env::temp_dir().join(format!("tapswitch-demo-{}", demo.id()));
    (demo, folder)
}

#[test]
fn ctrl_c_ends_the_demo_at_once_and_cleans_up_at_every_moment() {
    let files = Folder::new();
    // While the switch starts, while a client waits for an address, and while TCP flows.
    for (nth, seen) in
        ["The configuration", "The switch starts", "Alice pings carol", "Carol is served"].iter().enumerate()
    {
        let path = files.config().with_extension(nth.to_string());
        let (mut demo, folder) = demo(&path);
        let said = || fs::read_to_string(&path).unwrap_or_default();
        wait_until("the demo has come so far", || said().contains(seen) && folder.join("log").exists());
        let start = Instant::now();
        // The terminal's SIGINT goes to the whole group.
        kill_process_group(Pid::from_child(&demo), Signal::INT).expect("it runs");
        let status = demo.wait().expect("it is ours");
        assert!(start.elapsed() < Duration::from_secs(3), "{seen}: {:?}", start.elapsed());
        assert_eq!(status.code(), Some(130), "{seen}: {status}");
        assert!(!folder.exists(), "{seen}: its folder is gone");
        assert!(!said().contains('\u{2717}'), "an end that was asked for is no failure: {}", said());
        let config = folder.join("tapswitch.toml").display().to_string();
        assert!(!command_lines().any(|line| line.contains(&config)), "{seen}: its switch is gone");
    }
}

/// Those of all processes.
fn command_lines() -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
    processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
}
