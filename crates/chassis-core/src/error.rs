//! One error for the whole engine: a stable kind, one sentence, and the cause.
//!
//! The kinds are the contract shared by every language (`docs/errors.md`); the text may improve between
//! releases, the code may not.

use std::fmt;

/// The result of every fallible call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// The closed list of failures. [`ErrorKind::code`] is what a caller should switch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            /// Every kind, in the order of `docs/errors.md`.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];

            /// The stable code, the same in every language.
            pub const fn code(self) -> &'static str {
                match self { $(ErrorKind::$name => concat!("ERR_CHASSIS_", $code),)* }
            }
        }
    };
}

kinds! {
    /// An argument is of the wrong form (not covered by a more exact kind).
    InvalidArgument = "INVALID_ARGUMENT";
    /// An option is outside its range, or two options contradict each other.
    InvalidOption = "INVALID_OPTION";
    /// A vector to be stored holds NaN or an infinity.
    InvalidVector = "INVALID_VECTOR";
    /// A query holds NaN or an infinity.
    InvalidQuery = "INVALID_QUERY";
    /// A vector of length zero (or subnormal length) under the cosine metric.
    ZeroNorm = "ZERO_NORM";
    /// A vector or query does not have the index's number of dimensions.
    DimensionMismatch = "DIMENSION_MISMATCH";
    /// An id is of the wrong type or outside its range.
    InvalidId = "INVALID_ID";
    /// An id is already taken, in the index or within the batch.
    DuplicateId = "DUPLICATE_ID";
    /// No room for another record.
    CapacityExceeded = "CAPACITY_EXCEEDED";
    /// A stated option differs from what the file says.
    OptionMismatch = "OPTION_MISMATCH";
    /// No file at this path, and creating was not asked for.
    NotFound = "NOT_FOUND";
    /// A file exists where a new one was asked for.
    AlreadyExists = "ALREADY_EXISTS";
    /// The file is not a Chassis index.
    NotADatabase = "NOT_A_DATABASE";
    /// The file was written by a newer, incompatible version.
    UnsupportedVersion = "UNSUPPORTED_VERSION";
    /// The file's contents fail a check.
    Corrupt = "CORRUPT";
    /// The file is shorter than its last commit says.
    Truncated = "TRUNCATED";
    /// The path names something that is not a regular file.
    NotAFile = "NOT_A_FILE";
    /// The operating system refused access.
    PermissionDenied = "PERMISSION_DENIED";
    /// A write was asked of a read-only index.
    ReadOnly = "READ_ONLY";
    /// The path cannot be used (too long, NUL inside, …).
    InvalidPath = "INVALID_PATH";
    /// The disk is full; the last commit is untouched.
    DiskFull = "DISK_FULL";
    /// Reading or writing failed.
    Io = "IO";
    /// A barrier failed earlier: this handle writes no more; reopen.
    Poisoned = "POISONED";
    /// The commit record may or may not have reached the disk; reopen to learn which.
    CommitIndeterminate = "COMMIT_INDETERMINATE";
    /// Another writer holds the file.
    WriterBusy = "WRITER_BUSY";
    /// Locks cannot be trusted on this file system.
    UnsupportedFilesystem = "UNSUPPORTED_FILESYSTEM";
    /// The index is closed.
    Closed = "CLOSED";
    /// The handle belongs to the process this one was forked from.
    ForkedHandle = "FORKED_HANDLE";
    /// The file was replaced; reopen.
    Superseded = "SUPERSEDED";
    /// The caller cancelled the operation.
    Cancelled = "CANCELLED";
    /// A bug in Chassis.
    Internal = "INTERNAL";
}

impl Error {
    /// A new error of this kind. The message names the offending value, the limit and the remedy.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// The same with the error that caused it.
    #[cold]
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error { kind, message: message.into(), source: Some(source.into()) }
    }

    /// A damaged structure: `what` names it, as in "page 7 of the neighbor lists".
    #[cold]
    pub fn corrupt(what: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Corrupt, format!("the file is damaged: {what}"))
    }

    /// An operating system error met while doing `what`.
    #[cold]
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::StorageFull | Os::QuotaExceeded | Os::FileTooLarge => ErrorKind::DiskFull,
            Os::PermissionDenied | Os::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Os::NotFound => ErrorKind::NotFound,
            Os::AlreadyExists => ErrorKind::AlreadyExists,
            Os::InvalidFilename => ErrorKind::InvalidPath,
            Os::IsADirectory | Os::NotADirectory => ErrorKind::NotAFile,
            _ => ErrorKind::Io,
        };
        Error::with_source(kind, format!("{what}: {source}"), source)
    }

    /// The same error in the words of who knows more about it.
    pub(crate) fn saying(self, message: impl Into<String>) -> Self {
        Error { message: message.into(), ..self }
    }

    /// Memory for what the file says it holds was not to be had: what it says may be true.
    #[cold]
    pub(crate) fn no_memory(what: impl fmt::Display) -> Self {
        Error::io(format!("no memory for {what}"), std::io::ErrorKind::OutOfMemory.into())
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable code of [`Error::kind`].
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A text as a message repeats it: of one that is long, the beginning and the length.
pub(crate) fn brief(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_the_beginning_of_a_long_text() {
        assert_eq!(brief("l2\n"), r#""l2\n""#);
        assert_eq!(brief(&"é".repeat(60)).chars().count(), 62);
        assert_eq!(brief(&"é".repeat(1_000_000)), format!("{:?}… (2000000 bytes)", "é".repeat(60)));
    }
}
