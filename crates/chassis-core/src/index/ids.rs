//! The caller's ids and the node numbers inside: one B+tree for both id types.
//!
//! Integer ids are their own key. A string's key is a 64-bit hash; strings that share one are told apart by
//! comparing the bytes in the heap.

use std::fmt;

use crate::error::{Error, ErrorKind, Result, brief};
use crate::graph::NodeId;
use crate::index::nodes::{self, Record};
use crate::index::options::{IdType, MAX_STRING_ID};
use crate::storage::{Kind, View, ids};

/// What a caller calls a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// Of an index with integer ids.
    Integer(u64),
    /// Of an index with string ids.
    String(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Integer(id) => id.fmt(f),
            Id::String(id) => write!(f, "{id:?}"),
        }
    }
}

impl From<u64> for Id {
    fn from(id: u64) -> Id {
        Id::Integer(id)
    }
}

impl From<&str> for Id {
    fn from(id: &str) -> Id {
        Id::String(id.to_owned())
    }
}

/// Refuses an id of the wrong type or outside its range.
pub(crate) fn validate(id: &Id, id_type: IdType) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::InvalidId, message));
    match (id, id_type) {
        (Id::Integer(u64::MAX), IdType::Integer) => {
            wrong(format!("id {} is out of range; the largest is {}", u64::MAX, u64::MAX - 1))
        }
        (Id::Integer(_), IdType::Integer) => Ok(()),
        (Id::String(text), IdType::String) if text.is_empty() || text.len() > MAX_STRING_ID => {
            wrong(format!("a string id has {} bytes; allowed are 1 to {MAX_STRING_ID}", text.len()))
        }
        (Id::String(_), IdType::String) => Ok(()),
        (Id::String(text), IdType::Integer) => {
            wrong(format!("id {} does not fit an index with integer ids", brief(text)))
        }
        (Id::Integer(_), IdType::String) => wrong(format!("id {id} does not fit an index with string ids")),
    }
}

/// The key of an id in the tree.
pub(crate) fn key(id: &Id) -> u64 {
    match id {
        Id::Integer(id) => *id,
        Id::String(text) => hash(text.as_bytes()),
    }
}

/// FNV-1a with a final mix: stable for ever, because it orders the tree in the file.
fn hash(bytes: &[u8]) -> u64 {
    let mut h =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
    h ^= h >> 32;
    h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ h >> 32
}

/// The live node an id names.
pub(crate) fn find(view: &View, id: &Id) -> Result<Option<NodeId>> {
    match id {
        Id::Integer(id) => ids::get(view, *id),
        Id::String(text) => {
            for node in ids::get_all(view, key(id))? {
                let record = nodes::record(view, node)?;
                if record.id_len as usize == text.len() && read_string(view, &record)? == text.as_bytes() {
                    return Ok(Some(node));
                }
            }
            Ok(None)
        }
    }
}

/// The id in a node's record.
pub(crate) fn of(view: &View, id_type: IdType, record: &Record) -> Result<Id> {
    match id_type {
        IdType::Integer => Ok(Id::Integer(record.id)),
        IdType::String => String::from_utf8(read_string(view, record)?)
            .map(Id::String)
            .map_err(|_| Error::corrupt("a string id that is not UTF-8")),
    }
}

fn read_string(view: &View, record: &Record) -> Result<Vec<u8>> {
    read_heap(view, record.id, record.id_len as usize)
}

/// Bytes of the heap, which may cross chunks.
pub(crate) fn read_heap(view: &View, offset: u64, len: usize) -> Result<Vec<u8>> {
    let heap = view.rows(Kind::Heap).ok_or_else(|| Error::corrupt("no heap object"))?;
    heap.read_bytes(offset, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(hash(b""), hash(b""));
        assert_ne!(hash(b"a"), hash(b"b"));
        // Values computed once by hand-written Python from the definition above.
        assert_eq!(hash(b"chassis"), HASH_OF_CHASSIS);
    }

    const HASH_OF_CHASSIS: u64 = 0x4c66850376a67dc9;

    #[test]
    fn ids_of_the_wrong_type_are_refused() {
        let code = |id: Id, t| validate(&id, t).err().map(|e| e.kind());
        assert_eq!(code(Id::from(1), IdType::String), Some(ErrorKind::InvalidId));
        assert_eq!(code(Id::from("a"), IdType::Integer), Some(ErrorKind::InvalidId));
        assert_eq!(code(Id::from(""), IdType::String), Some(ErrorKind::InvalidId));
        assert_eq!(code(Id::from(u64::MAX), IdType::Integer), Some(ErrorKind::InvalidId));
        assert_eq!(code(Id::from(u64::MAX - 1), IdType::Integer), None);
        assert_eq!(code(Id::from("x".repeat(MAX_STRING_ID).as_str()), IdType::String), None);
    }
}
