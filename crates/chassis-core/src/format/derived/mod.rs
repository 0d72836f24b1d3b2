//! Objects that are computed from the vectors and may be dropped and made anew: codes, the model they were made
//! with, search settings, entry points with their records.
//!
//! A file of version 1 may carry them; a reader that does not know one walks over the vectors instead. Every
//! decoder checks every number against what else is known (dimensions, number of nodes, length of the bytes)
//! and borrows its input, so that nothing is allocated by what the bytes say.
//!
//! | file | object |
//! |---|---|
//! | `codes` | rows of 4-bit or 8-bit codes |
//! | `model` | the mean, and the matrix that projects |
//! | `calibration` | what a wanted recall costs |
//! | `entries` | up to 64 nodes to start from, their code records beside them |

pub mod calibration;
pub mod codes;
pub mod entries;
pub mod model;

use crate::error::{Error, ErrorKind, Result};

/// Refuses a derived object of a later layout. Callers drop the object and go on without it.
fn known_version(what: &str, version: u32, newest: u32) -> Result<()> {
    if (1..=newest).contains(&version) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::UnsupportedVersion,
        format!("{what} has layout version {version}, known are 1 to {newest}"),
    ))
}

/// An error unless `sound`.
fn ensure(sound: bool, what: &str) -> Result<()> {
    if sound { Ok(()) } else { Err(Error::corrupt(what)) }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Shared by the tests of this folder.

    use crate::format::Field;

    /// Where the last field ends, after proving that the fields follow each other without a gap.
    pub(crate) fn end_of(layout: &[Field]) -> usize {
        layout.iter().fold(0, |at, &(name, offset, len)| {
            assert_eq!(offset, at, "field {name}");
            at + len
        })
    }

    /// Calls `decode` with every length of `good`, with every single byte changed, and with noise.
    pub(crate) fn abuse(good: &[u8], mut decode: impl FnMut(&[u8])) {
        for len in 0..good.len().min(2_000) {
            decode(&good[..len]);
        }
        for at in 0..good.len().min(600) {
            for value in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 0x10] {
                let mut bad = good.to_vec();
                bad[at] = value;
                decode(&bad);
            }
        }
        let mut state = 1u64;
        for len in [0, 1, 63, 64, 65, 320, 5_000] {
            let noise: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    (state >> 56) as u8
                })
                .collect();
            decode(&noise);
        }
    }
}
