//! The demo, which is the first thing that a newcomer sees.

use crate::switch::tapswitch;

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
