//! The file as pages and rows: read in place, changed copy-on-write, made durable by commits.
//!
//! ```text
//!   Store ── view() ──> View ── pages(kind) ──> Pages ─┐
//!     │                  │ ──── rows(kind) ───> Rows ──┴─> Units: tables of entries -> map or private memory
//!     └── txn() ──> Txn: edit pages, append rows, publish ── commit() ──> free blocks, barrier, meta, barrier
//! ```
//!
//! | file | part |
//! |---|---|
//! | `backend` | the seam: a file system of files, maps and locks |
//! | `file`, `memory` | real files; files in memory |
//! | `limits`, `smaps` | how much memory there is; how much of a map is in pages of 2 MiB |
//! | `heat` | which objects stay in memory when the file does not |
//! | `mmap`, `sys` | the only `unsafe`: maps, private memory, four system calls |
//! | `units` | from a unit's number through the tables to its bytes, verified at first touch |
//! | `objects` | pages and rows of one object |
//! | `view` | what a search sees: the objects of a commit, and the counts that publish what came after |
//! | `store` | open, create, refresh, views, statistics |
//! | `metas` | the four copies of commit records |
//! | `locks` | one writer, pinned readers |
//! | `txn` | private pages of the writer, objects made and dropped |
//! | `append` | private rows of the writer |
//! | `space` | free blocks and when they may be used again |
//! | `commit`, `block_writer` | the only code that writes to an existing file; few large writes out of many blocks |
//! | `successor` | a new file that takes the place of an index |
//! | `ids` | the B+tree from keys to nodes |
//!
//! `docs/durability.md` has the protocol; its invariants are quoted where the code upholds them.

mod append;
pub mod backend;
mod block_writer;
mod commit;
pub mod file;
pub(crate) mod heat;
pub mod ids;
mod limits;
mod locks;
pub mod memory;
mod metas;
pub mod mmap;
mod objects;
mod smaps;
mod space;
mod store;
mod successor;
mod sys;
mod tuning;
mod txn;
mod units;
mod view;

pub use crate::format::Kind;
pub use append::RowWriter;
pub use backend::Vfs;
pub use memory::MemoryVfs;
pub use mmap::{Page, PageMut};
pub use objects::{Pages, RowReader, Rows, VerifiedRows};
pub use store::{OpenMode, Store, StoreStats};
pub use successor::Place;
pub use tuning::{Bug, OpenTuning};
pub use txn::Txn;
pub use view::{IdsRoot, Published, View};

pub(crate) use objects::Object;
