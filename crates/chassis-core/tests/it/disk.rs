//! Real disks that are full, limited or read-only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use chassis_core::{
    BatchOptions, CheckLevel, ErrorKind, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex,
};

use crate::child::{Spoken, command};
use crate::support::{clustered, options, place, reopen};

/// A file system in memory that is unmounted at the end.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// `None`, and a line on stderr that no test harness swallows, when this process may not mount.
    fn new(size: &str) -> Option<Mounted> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        let outcome =
            mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path()).output();
        if outcome.as_ref().is_ok_and(|o| o.status.success()) {
            return Some(Mounted(dir));
        }
        let why =
            outcome.map_or_else(|e| e.to_string(), |o| String::from_utf8_lossy(&o.stderr).trim().to_owned());
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, NOT TESTED: a full disk needs a mount, which is not permitted: {why}"
        );
        None
    }

    fn remount(&self, how: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.0.path()).status();
        assert!(status.expect("mount runs").success(), "remount {how}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const DIMENSIONS: usize = 64;

/// Adds and commits until the disk is full. Returns the vectors of the last commit.
fn fill(index: &VectorIndex) -> u64 {
    for round in 0.. {
        let committed = index.len().unwrap();
        index.add_batch(&clustered(200, DIMENSIONS, round), &BatchOptions::default()).unwrap();
        match index.commit() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
                return committed;
            }
        }
    }
    unreachable!("the disk is never full")
}

fn assert_clean(index: &VectorIndex) {
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}

#[test]
fn a_full_disk_is_an_error_and_costs_nothing() {
    let Some(disk) = Mounted::new("4m") else { return };
    let path = disk.0.path().join("full.chassis");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1u8; 1 << 20]).unwrap();
    let index = VectorIndex::open(&path, &options(DIMENSIONS, Metric::L2)).unwrap();
    let committed = fill(&index);
    assert!(committed > 0);
    // Another handle sees the last commit, the writer its transaction; both are whole.
    let reader = reopen(&path, Mode::ReadOnly);
    assert_eq!(reader.len().unwrap(), committed);
    assert_clean(&reader);
    assert_eq!(index.len().unwrap(), committed + 200);
    assert_eq!(index.commit().unwrap_err().kind(), ErrorKind::DiskFull, "it is still full");
    let query = clustered(1, DIMENSIONS, 9);
    assert_eq!(index.search(&query, &SearchOptions::k(7)).unwrap().len(), 7);
    // Once there is room the very same transaction commits.
    fs::remove_file(&ballast).unwrap();
    index.add(&query).unwrap();
    index.commit().unwrap();
    assert_eq!(index.len().unwrap(), committed + 201);
    assert_clean(&index);
    // And it can be full again, and the transaction be given up.
    let committed = fill(&index);
    index.rollback().unwrap();
    assert_eq!(index.len().unwrap(), committed);
    index.close().unwrap();
    let index = reopen(&path, Mode::ReadOnly);
    assert_eq!(index.len().unwrap(), committed);
    assert_clean(&index);
}

#[test]
fn creating_on_a_full_disk_leaves_no_file() {
    let Some(disk) = Mounted::new("64k") else { return };
    fs::write(disk.0.path().join("ballast"), vec![1u8; 56 << 10]).unwrap();
    let path = disk.0.path().join("new.chassis");
    let error = VectorIndex::open(&path, &options(DIMENSIONS, Metric::L2)).err().expect("no room");
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    let left: Vec<_> = fs::read_dir(disk.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["ballast"]);
    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    VectorIndex::open(&path, &options(DIMENSIONS, Metric::L2)).unwrap();
}

/// The child of the test below. It may write files of 2 MiB at most.
pub fn fill_up_to_the_limit(path: &Path) {
    let index = VectorIndex::open(path, &options(DIMENSIONS, Metric::L2)).unwrap();
    let committed = fill(&index);
    assert!(committed > 0);
    index.rollback().unwrap();
    assert_eq!(index.len().unwrap(), committed);
    assert_clean(&index);
    assert!(fs::metadata(path).unwrap().len() <= 2 << 20);
}

#[test]
fn a_limit_on_file_size_is_a_full_disk() {
    let (_dir, path) = place();
    let program = std::env::current_exe().unwrap();
    // The signal would end the process before the error is returned; hosts that set the limit ignore it.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    let shell = command("sh", &["-c", script, program.to_str().unwrap()], "limited", &path, 0);
    Spoken::start(shell).succeeds();
    let index = reopen(&path, Mode::Open);
    let before = index.len().unwrap();
    assert_clean(&index);
    index.add_batch(&clustered(3_000, DIMENSIONS, 5), &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    assert_eq!(index.len().unwrap(), before + 3_000);
    assert!(fs::metadata(&path).unwrap().len() > 2 << 20, "the limit was one");
}

/// Reads everything there is, and asserts that writing is refused.
fn read_all(path: &Path) {
    let index = reopen(path, Mode::ReadOnly);
    assert_eq!(index.len().unwrap(), 300);
    assert_eq!(index.search(&[0.5; 8], &SearchOptions::k(5)).unwrap().len(), 5);
    assert_eq!(index.get(&Id::Integer(7)).unwrap().unwrap().vector.len(), 8);
    assert_eq!(index.add(&[0.5; 8]).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(!index.refresh().unwrap());
    assert_clean(&index);
    index.close().unwrap();
}

fn create(path: &Path) {
    let index = VectorIndex::open(path, &options(8, Metric::L2)).unwrap();
    index.add_batch(&clustered(300, 8, 1), &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    index.close().unwrap();
}

/// Names, lengths, times of change and bytes of a folder.
fn everything(dir: &Path) -> Vec<(std::ffi::OsString, std::time::SystemTime, Vec<u8>)> {
    let file = |e: std::io::Result<fs::DirEntry>| {
        let e = e.unwrap();
        (e.file_name(), e.metadata().unwrap().modified().unwrap(), fs::read(e.path()).unwrap())
    };
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(file).collect();
    all.sort();
    all
}

#[test]
fn a_read_only_mount_is_read_and_not_written() {
    let Some(disk) = Mounted::new("4m") else { return };
    let path = disk.0.path().join("ro.chassis");
    create(&path);
    disk.remount("ro");
    let before = everything(disk.0.path());
    read_all(&path);
    for mode in [Mode::Open, Mode::OpenOrCreate] {
        let error =
            VectorIndex::open(&path, &OpenOptions { mode, ..Default::default() }).err().expect("read-only");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    let other = disk.0.path().join("other.chassis");
    let error = VectorIndex::open(&other, &options(8, Metric::L2)).err().expect("read-only");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(everything(disk.0.path()) == before, "something changed");
}

#[test]
fn opening_read_only_touches_nothing() {
    let (dir, path) = place();
    create(&path);
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(&path, 0o444);
    set_mode(dir.path(), 0o555);
    let before = everything(dir.path());
    read_all(&path);
    // The superuser may write whatever the mode says.
    if fs::OpenOptions::new().write(true).open(&path).is_err() {
        let error = VectorIndex::open(&path, &OpenOptions { mode: Mode::Open, ..Default::default() }).err();
        assert_eq!(error.expect("mode 0444").kind(), ErrorKind::PermissionDenied);
    }
    assert!(everything(dir.path()) == before, "something changed");
    set_mode(dir.path(), 0o755);
}
