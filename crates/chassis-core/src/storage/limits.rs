//! How much memory this process may use. It decides whether a file is mapped in pages of 2 MiB: a fault then reads
//! up to 4 MiB where it would read a few blocks (512 MiB on ext4, cold, 100 single touches: 322 MiB read, against
//! 0.4 MiB with `MADV_RANDOM`), which only a file that stays in memory earns back.

use std::sync::OnceLock;

/// Groups above this one that are asked for their limits.
const MOST_GROUPS: usize = 32;

/// Whether a file of `len` bytes fits in memory with as much left for everything else.
pub(super) fn fits(len: u64) -> bool {
    static MEMORY: OnceLock<u64> = OnceLock::new();
    len <= MEMORY.get_or_init(|| memory(|path| std::fs::read_to_string(path).ok())) / 2
}

/// The memory of the machine, or less where a control group says so; 0 when nobody says anything.
fn memory(read: impl Fn(&str) -> Option<String>) -> u64 {
    let about = read("/proc/meminfo").unwrap_or_default();
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024);
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|path| read(&path)?.trim().parse().ok());
    limits.fold(total, u64::min)
}

/// Where the limits of a line `number:controllers:group` and of the groups above it stand. A container may see the
/// host's path and its own group at the root.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return vec![] };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return vec![],
    };
    let above = std::iter::successors(Some(group.trim_end_matches('/')), |group| {
        group.rfind('/').map(|slash| &group[..slash])
    });
    above.take(MOST_GROUPS).map(|group| format!("{root}{group}/{file}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> u64 {
        memory(|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string()))
    }

    #[test]
    fn the_smallest_limit_counts() {
        let total = ("/proc/meminfo", "MemFree:  1 kB\nMemTotal:       16 kB\n");
        assert_eq!(machine(&[]), 0);
        assert_eq!(machine(&[total]), 16 << 10);
        let groups = ("/proc/self/cgroup", "4:memory:/a/b\n3:cpu:/c\n0::/d\nnonsense\n");
        let limit = |path, text| machine(&[total, groups, (path, text)]);
        assert_eq!(limit("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "4096\n"), 4096);
        assert_eq!(limit("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4097\n"), 4097);
        assert_eq!(limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4098\n"), 4098);
        assert_eq!(limit("/sys/fs/cgroup/d/memory.max", "5000\n"), 5000);
        assert_eq!(limit("/sys/fs/cgroup/memory.max", "5001"), 5001);
        for (path, text) in [
            ("/sys/fs/cgroup/d/memory.max", "max\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "1\n"),
        ] {
            assert_eq!(limit(path, text), 16 << 10, "{path}: {text}");
        }
    }
}
