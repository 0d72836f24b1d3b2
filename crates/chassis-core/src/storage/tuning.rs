//! Knobs of the tests: a small geometry, so that few records exercise many structures, and one switch per
//! protection, so that the simulation can show that it notices when a protection is missing.

/// How a store is opened in tests. The default is what users get.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenTuning {
    /// Entries a table node may use (stored at creation).
    pub fanout: Option<u16>,
    /// Bytes of a chunk of rows (stored at creation).
    pub chunk_bytes: Option<u32>,
    /// Rows from which an index has codes.
    pub codes_from: Option<usize>,
    /// Bytes a compaction copies from one commit of the new file to the next.
    pub portion: Option<usize>,
    /// The protection to leave out.
    pub bug: Option<Bug>,
}

impl OpenTuning {
    /// Whether this protection is left out; never in a release build.
    #[inline]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        cfg!(feature = "__internals") && self.bug == Some(bug)
    }
}

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A protection that can be left out, to prove that the simulation notices.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* }
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name,)*];
        }
    };
}
bugs! {
    /// No barrier before the commit record is written.
    NoDataBarrier,
    /// A commit returns without the barrier after its record.
    NoMetaBarrier,
    /// A commit returns without any barrier.
    EarlyPublish,
    /// Blocks freed by a transaction are used in the same one.
    ReuseAtOnce,
    /// Blocks freed by a commit are used by the next one.
    ReuseLagOne,
    /// Blocks are used again although a reader pins them.
    IgnorePins,
    /// The checksum of commit records is not looked at.
    NoMetaChecksum,
    /// Commits always go to the same slot.
    NoMetaAlternation,
    /// The anchor of a new writer rewrites both copies of the newest commit record at once.
    AnchorRewritesBoth,
    /// A new writer leaves torn commit records where the next one will be written.
    KeepTornMetas,
    /// A changed page is written over its committed block.
    InPlacePages,
    /// Pages are believed without looking at their checksum.
    NoPageChecksum,
    /// A page is believed when it fits itself, whatever its parent says.
    StaleTableEntry,
    /// A new file gets its name before its bytes are durable.
    NoCreateBarrier,
    /// A new file's name is not made durable.
    NoDirSync,
    /// Blocks of an object that a transaction replaces are used in the same one.
    ReplaceFreesEarly,
    /// Blocks of an object that a transaction replaced are not freed.
    KeepReplaced,
    /// A compacted file takes its place before its bytes are durable.
    NoCompactBarrier,
    /// The name of a compacted file is not made durable.
    NoCompactDirSync,
    /// A writer that finds a compacted file without a commit since does not make its name durable.
    NoCompactAnchor,
}
