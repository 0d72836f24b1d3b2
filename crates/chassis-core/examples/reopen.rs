//! What survives: a committed record is there after reopening, an uncommitted one is not, and a reader keeps its
//! snapshot until it asks for a newer one.
//!
//! `cargo run -p chassis-core --example reopen`

use chassis_core::{Mode, OpenOptions, Result, VectorIndex};

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notes.chassis");

    let writer = VectorIndex::open(&path, &OpenOptions { dimensions: Some(2), ..Default::default() })?;
    writer.add(&[1.0, 0.0])?;
    writer.commit()?;
    writer.add(&[0.0, 1.0])?;
    println!("the writer sees its own addition: {} records", writer.len()?);
    writer.close()?;

    let writer = VectorIndex::open(&path, &OpenOptions { mode: Mode::Open, ..Default::default() })?;
    println!("after closing without a commit: {} record", writer.len()?);

    let reader = VectorIndex::open(&path, &OpenOptions { mode: Mode::ReadOnly, ..Default::default() })?;
    writer.add(&[0.5, 0.5])?;
    writer.commit()?;
    println!("a reader's snapshot stands still: {} record", reader.len()?);
    reader.refresh()?;
    println!("after refresh: {} records", reader.len()?);
    Ok(())
}
