//! The shortest useful program: create an index, add a few vectors, make them durable, search.
//!
//! `cargo run -p chassis-core --example first_index`

use chassis_core::{Metric, OpenOptions, Result, SearchOptions, VectorIndex, similarity};

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("colors.chassis");

    // Only creation needs options; they are stored in the file.
    let options = OpenOptions { dimensions: Some(3), metric: Some(Metric::Cosine), ..Default::default() };
    let index = VectorIndex::open(&path, &options)?;

    let colors = [("red", [1.0, 0.1, 0.1]), ("orange", [1.0, 0.6, 0.1]), ("blue", [0.1, 0.2, 1.0])];
    for (id, (name, rgb)) in colors.iter().enumerate() {
        index.add_record(Some(&(id as u64).into()), rgb, Some(name.as_bytes()))?;
    }
    // Searches see the records already; after this no crash loses them.
    index.commit()?;

    let hits = index.search(&[0.9, 0.4, 0.0], &SearchOptions::k(2))?;
    for (i, &distance) in hits.distances.iter().enumerate() {
        let record = index.get(&hits.id(i))?.expect("a result is a record");
        let name = String::from_utf8_lossy(record.payload.as_deref().unwrap_or_default()).into_owned();
        println!("{name:8} similarity {:.3}", similarity(index.metric()?, distance));
    }
    Ok(())
}
