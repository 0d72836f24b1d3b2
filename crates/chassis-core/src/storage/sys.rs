//! Five system calls that the standard library does not offer: allocation, locks on byte ranges that belong to
//! an open file (OFD locks), their query, the kind of file system, and reading ahead.
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Reserves real blocks for `len` bytes from `offset`, growing the file.
#[cfg(target_os = "linux")]
pub(super) fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    loop {
        // SAFETY: a plain system call on an open descriptor.
        if unsafe { libc::fallocate64(file.as_raw_fd(), 0, offset as i64, len as i64) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Reserves real blocks for `len` bytes from `offset`, growing the file.
#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// Begins to read a range into the system's cache; a system that will not is no failure.
#[cfg(target_os = "linux")]
pub(super) fn will_need(file: &File, offset: u64, len: u64) {
    // SAFETY: a plain system call on an open descriptor.
    unsafe { libc::posix_fadvise64(file.as_raw_fd(), offset as i64, len as i64, libc::POSIX_FADV_WILLNEED) };
}

/// Begins to read a range into the system's cache; a system that will not is no failure.
#[cfg(not(target_os = "linux"))]
pub(super) fn will_need(_: &File, _: u64, _: u64) {}

fn range(kind: libc::c_short, start: u64, len: u64) -> libc::flock {
    // SAFETY: all-zero is a valid value of this plain C struct.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = start as libc::off_t;
    range.l_len = len as libc::off_t;
    range
}

/// Takes or gives back a lock without waiting; false when somebody else holds it.
pub(super) fn lock(file: &File, kind: libc::c_short, start: u64, len: u64) -> io::Result<bool> {
    let mut range = range(kind, start, len);
    loop {
        // SAFETY: `range` outlives the call.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut range) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => return Ok(false),
            Some(libc::EINTR) => continue,
            _ => return Err(error),
        }
    }
}

/// The first byte of a lock that another open file holds in the range.
pub(super) fn find_lock(file: &File, start: u64, len: u64) -> io::Result<Option<u64>> {
    let mut range = range(libc::F_WRLCK as libc::c_short, start, len);
    // SAFETY: `range` outlives the call and is written by the kernel.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut range) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((range.l_type != libc::F_UNLCK as libc::c_short).then_some((range.l_start as u64).max(start)))
}

/// Whether the file lies on a file system where locks or maps cannot be trusted between machines.
#[cfg(target_os = "linux")]
pub(super) fn is_network(file: &File) -> bool {
    const NETWORK: [u32; 7] =
        [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x6573_5546, 0x0102_1997, 0x00c3_6400];
    // SAFETY: all-zero is a valid value of this plain C struct, which the kernel fills.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `about` outlives the call.
    let done = unsafe { libc::fstatfs(file.as_raw_fd(), &mut about) } == 0;
    done && NETWORK.contains(&(about.f_type as u32))
}

/// Whether the file lies on a file system where locks or maps cannot be trusted between machines.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_network(_: &File) -> bool {
    false
}
