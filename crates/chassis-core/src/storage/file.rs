//! Real files. Opening never follows a surprise: only regular files, never blocking on a pipe, never inherited
//! by a child.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::fchown;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::backend::{Access, File, LockKind, MapView, Vfs};
use crate::storage::mmap::{FileMap, Reading};
use crate::storage::{limits, sys};

/// The file system of the process.
pub fn vfs() -> Arc<dyn Vfs> {
    Arc::new(OsVfs)
}

struct OsVfs;

struct OsFile {
    file: fs::File,
}

fn checked(path: &Path) -> Result<()> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(Error::new(ErrorKind::InvalidPath, "the path holds a NUL byte"));
    }
    if path.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::InvalidPath, "the path is empty"));
    }
    Ok(())
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {what} {}", path.display()), error)
}

impl OsFile {
    fn map_for(&self, min_len: u64, reading: Reading) -> Result<Arc<dyn MapView>> {
        // Address space is cheap and remapping is not: reserve well past the end, which Unix allows.
        let want = min_len.max(self.len()?).max(16 << 20).saturating_mul(2).checked_next_power_of_two();
        let map = FileMap::new(&self.file, want.unwrap_or(min_len) as usize, reading)
            .or_else(|_| FileMap::new(&self.file, min_len as usize, reading));
        Ok(Arc::new(map.map_err(|e| Error::io("cannot map the file", e))?))
    }
}

impl Vfs for OsVfs {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        checked(path)?;
        // Look before opening for writing: a folder would answer EISDIR, a device might act on being opened.
        let about = fs::metadata(path).map_err(|e| failed("open", path, e))?;
        if !about.is_file() {
            return Err(Error::new(ErrorKind::NotAFile, format!("{} is not a regular file", path.display())));
        }
        let write = access == Access::ReadWrite;
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
        let file = file.map_err(|e| failed("open", path, e))?;
        if !file.metadata().map_err(|e| failed("open", path, e))?.is_file() {
            return Err(Error::new(ErrorKind::NotAFile, format!("{} is not a regular file", path.display())));
        }
        if write && sys::is_network(&file) && std::env::var_os("CHASSIS_ALLOW_NETWORK_FS").is_none() {
            let text = format!(
                "{} is on a network or user-space file system, where locks cannot be trusted",
                path.display()
            );
            return Err(Error::new(ErrorKind::UnsupportedFilesystem, text));
        }
        Ok(Arc::new(OsFile { file }))
    }

    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>> {
        checked(path)?;
        let mut options = OpenOptions::new();
        // Readable by whom the umask says, as any file: an index built by one user is often served by another.
        options.read(true).write(true).create_new(true).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW);
        let file = options.open(path).map_err(|e| failed("create", path, e))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        // A hard link fails when the name is taken, on every file system that has links; rename would replace it.
        match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from).map_err(|e| failed("remove", from, e)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(failed("create", to, e)),
            Err(_) if !to.exists() => fs::rename(from, to).map_err(|e| failed("create", to, e)),
            Err(e) => Err(failed("create", to, e)),
        }
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| failed("replace", to, e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|e| failed("remove", path, e))
    }

    fn sync_dir(&self, path_inside: &Path) -> Result<()> {
        let dir = match path_inside.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed("sync folder", dir, e))
    }

    fn create_like(&self, path: &Path, like: &Path) -> Result<Arc<dyn File>> {
        checked(path)?;
        let about = fs::metadata(like).map_err(|e| failed("open", like, e))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW);
        // Closed to others until it is known to whom it is open: who opens a file keeps it.
        let file = options.mode(0o600).open(path).map_err(|e| failed("create", path, e))?;
        // Only the superuser can give a file away; for others it is theirs, in the old file's group where they may.
        let (uid, gid) = (about.uid(), about.gid());
        let _ = fchown(&file, Some(uid), Some(gid)).or_else(|_| fchown(&file, None, Some(gid)));
        let mine = file.metadata().map_err(|e| failed("create", path, e))?;
        // Rights of a group that is another one now are nobody's.
        let mode = about.mode() & if mine.gid() == gid { 0o777 } else { 0o707 };
        let granted = file.set_permissions(fs::Permissions::from_mode(mode));
        if let Err(error) = granted {
            let _ = fs::remove_file(path);
            return Err(failed("set the permissions of", path, error));
        }
        Ok(Arc::new(OsFile { file }))
    }

    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        checked(path)?;
        std::path::absolute(path).map_err(|e| failed("find", path, e))
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        fs::canonicalize(path).map_err(|e| failed("open", path, e))
    }

    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        let about = fs::metadata(path).map_err(|e| failed("open", path, e))?;
        Ok((about.dev(), about.ino()))
    }
}

impl File for OsFile {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| Error::io("cannot read the file's length", e))?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::new(
                ErrorKind::Truncated,
                format!("the file ends before byte {}", offset + buf.len() as u64),
            ),
            _ => Error::io("cannot read the file", e),
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(buf, offset).map_err(|e| Error::io("cannot write the file", e))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let have = self.len()?;
        if len <= have {
            return Ok(());
        }
        match sys::allocate(&self.file, have, len - have) {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS)) => {
                // No real allocation here: write the blocks, so that a full disk still shows now.
                let zeros = vec![0u8; 1 << 20];
                let mut at = have;
                while at < len {
                    let n = (len - at).min(zeros.len() as u64) as usize;
                    self.write_at(&zeros[..n], at)?;
                    at += n as u64;
                }
                Ok(())
            }
            Err(e) => Err(Error::io("cannot grow the file", e)),
        }
    }

    fn barrier(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("cannot make the file durable", e))
    }

    fn map(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        let huge = limits::fits(self.len()?);
        self.map_for(min_len, if huge { Reading::Huge } else { Reading::Usual })
    }

    fn map_seldom(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        self.map_for(min_len, Reading::Seldom)
    }

    fn fits_in_memory(&self, bytes: u64) -> bool {
        limits::fits(bytes)
    }

    fn will_need(&self, offset: u64, len: u64) {
        sys::will_need(&self.file, offset, len);
    }

    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        let kind = if kind == LockKind::Shared { libc::F_RDLCK } else { libc::F_WRLCK };
        sys::lock(&self.file, kind as _, start, len).map_err(|e| Error::io("cannot lock the file", e))
    }

    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        sys::lock(&self.file, libc::F_UNLCK as _, start, len)
            .map(|_| ())
            .map_err(|e| Error::io("cannot unlock", e))
    }

    fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>> {
        sys::find_lock(&self.file, start, len).map_err(|e| Error::io("cannot query locks", e))
    }

    fn identity(&self) -> Result<(u64, u64)> {
        let about = self.file.metadata().map_err(|e| Error::io("cannot read the file's identity", e))?;
        Ok((about.dev(), about.ino()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The kernel's flags of the map that begins at `base`.
    fn flags(base: *const u8) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").expect("the kernel's list of maps");
        let begin = format!("{:x}-", base as usize);
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&begin));
        lines.find_map(|line| line.strip_prefix("VmFlags:")).expect("flags").to_owned()
    }

    #[test]
    fn maps_say_how_they_are_read() {
        let huge_pages = Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        let file = tempfile::tempfile().expect("a file");
        for reading in [Reading::Usual, Reading::Huge, Reading::Seldom] {
            let map = FileMap::new(&file, 64 << 20, reading).expect("a map");
            let asked = |wanted| flags(map.base()).split(' ').any(|flag| flag == wanted);
            assert_eq!(asked("hg"), reading == Reading::Huge && huge_pages, "flags {}", flags(map.base()));
            assert_eq!(asked("rr"), reading == Reading::Seldom, "flags {}", flags(map.base()));
        }
        let file: Arc<dyn File> = Arc::new(OsFile { file });
        let asked = flags(file.map(4096).expect("a map").base()).contains(" hg");
        assert_eq!(asked, huge_pages, "a small file fits in memory");
        let seldom = flags(file.map_seldom(4096).expect("a map").base()).contains(" rr");
        assert!(seldom && file.fits_in_memory(4096) && !file.fits_in_memory(u64::MAX));
        assert!(!limits::fits(u64::MAX));
    }
}
