//! A second process for tests that need one to be killed or limited: this test binary run again, with the role
//! it plays in the environment.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROLE: &str = "CHASSIS_TEST_ROLE";
const FILE: &str = "CHASSIS_TEST_FILE";
const SEED: &str = "CHASSIS_TEST_SEED";

/// Where a child begins. In the ordinary run of the tests it does nothing.
#[test]
fn entry() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let path = std::env::var_os(FILE).expect("a file for the child");
    let seed = std::env::var(SEED).expect("a seed for the child").parse().expect("a number");
    match role.to_str() {
        Some("add-and-wait") => crate::faults::add_and_wait(Path::new(&path)),
        Some("commit-forever") => crate::durability::commit_forever(Path::new(&path), seed),
        Some("build") => crate::stats::build(Path::new(&path)),
        Some("limited") => crate::disk::fill_up_to_the_limit(Path::new(&path)),
        other => panic!("no role {other:?}"),
    }
}

/// Tells the parent something, on a line of its own: the test harness writes to the same stream.
pub fn say(line: &str) {
    println!("\n>{line}");
}

/// The command that plays a role, to be started directly or through a shell that sets limits first.
pub fn command(program: impl AsRef<OsStr>, before: &[&str], role: &str, path: &Path, seed: u64) -> Command {
    let mut command = Command::new(program);
    command.args(before).args(["--exact", "child::entry", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, path).env(SEED, seed.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// A running child and what it says. Dropping it kills it, so that a failing test leaves no process behind.
pub struct Spoken {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Spoken {
    pub fn start(mut command: Command) -> Spoken {
        let mut child = command.spawn().expect("the child starts");
        let stdout = child.stdout.take().expect("a pipe");
        Spoken { child, lines: BufReader::new(stdout).lines() }
    }

    /// This test binary in a role.
    pub fn role(role: &str, path: &Path, seed: u64) -> Spoken {
        let program = std::env::current_exe().expect("the test binary");
        Spoken::start(command(program, &[], role, path, seed))
    }

    /// What the child says next; `None` when it has ended.
    pub fn next(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix('>').map(str::to_owned))
    }

    /// Kills the child with a signal it cannot catch, and returns what it had said and nobody had read.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("the child is killed");
        let rest = std::iter::from_fn(|| self.next()).collect();
        let status = self.child.wait().expect("the child ends");
        assert_eq!(status.code(), None, "the child ended by itself: {status}");
        rest
    }

    /// Waits for the child to end by itself.
    pub fn succeeds(mut self) {
        while self.next().is_some() {}
        let status = self.child.wait().expect("the child ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
