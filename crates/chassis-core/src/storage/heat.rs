//! Which objects can stay in memory when the file cannot.
//!
//! A search reads a few objects at every step and the others a few times. Where all of the file has room the system
//! keeps it, and a fault may read far around its page. Where not, faults read their page alone
//! ([`map_seldom`](super::backend::File::map_seldom)): around it lies what pushes out pages that are needed (58,998 x
//! 1,536 in a fifth of the file's length, 8 MiB read at a fault: 230 MiB and a third of a second a query; alone: 0.3 MiB).
//! Of such maps the system does not count the uses. What has room is therefore read twice when it is read in, which it
//! does count; rows of what has none are asked for all at once before they are needed
//! ([`Rows::will_need`](super::Rows::will_need)).
//!
//! It is decided when a view is made, that is at an open, a commit and a refresh, for all objects together: a dozen
//! comparisons with a number that is read once a process (see `limits`). A search looks at the outcome once for each
//! object it asks for. What a handle touched before its file outgrew the memory is reached by the map it was touched
//! by until the handle is opened again.

use crate::format::{BLOCK, Descriptor, Kind};

/// What becomes of the bytes of an object once they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// They stay, as all of the file does.
    All,
    /// They stay if they are read often enough: there is room for them, not for the file.
    Busy,
    /// They give place to the next.
    Passes,
}

/// By how often a search reads a byte of it: first what each step of a walk and each result needs, then records of a
/// second stage, the vectors last.
pub(crate) const ORDER: [Kind; 9] = [
    Kind::EntryBlock,
    Kind::Model,
    Kind::Upper,
    Kind::Codes4,
    Kind::Lists,
    Kind::Nodes,
    Kind::Live,
    Kind::Codes8,
    Kind::Vectors,
];

/// For each object whether it stays. `whole`: all of the file does.
pub(crate) fn staying(objects: &[&Descriptor], whole: bool, fits: impl Fn(u64) -> bool) -> Vec<Stay> {
    if whole {
        return vec![Stay::All; objects.len()];
    }
    let (mut stay, mut kept) = (vec![Stay::Passes; objects.len()], 0);
    // Vectors that fit where the file does not would take the room that everything else needs.
    for kind in ORDER.into_iter().filter(|kind| *kind != Kind::Vectors) {
        let Some(at) = objects.iter().position(|object| object.kind == kind as u16) else { continue };
        let with = objects[at].blocks().saturating_mul(BLOCK as u64).saturating_add(kept);
        if fits(with) {
            kept = with;
            stay[at] = Stay::Busy;
        }
    }
    stay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_stay() {
        let object = |kind, units| Descriptor { units, ..Descriptor::paged(kind) };
        let objects = [
            object(Kind::Lists, 10),
            object(Kind::Vectors, 1),
            object(Kind::Nodes, 2),
            object(Kind::Ids, 1),
            object(Kind::Upper, 3),
        ];
        let objects: Vec<&Descriptor> = objects.iter().collect();
        let stay = |blocks: u64| -> [Stay; 5] {
            let stay = staying(&objects, false, |bytes| bytes <= blocks * BLOCK as u64);
            stay.try_into().expect("one for each object")
        };
        let stays = |blocks: u64| stay(blocks).map(|stay| stay == Stay::Busy);
        assert_eq!(staying(&objects, true, |_| false), [Stay::All; 5]);
        assert_eq!(stays(99), [true, false, true, false, true], "vectors and ids never without the rest");
        assert_eq!(stays(15), [true, false, true, false, true]);
        assert_eq!(stays(14), [true, false, false, false, true]);
        assert_eq!(stays(12), [false, false, true, false, true], "what is too large is passed over");
        assert_eq!(stays(2), [false, false, true, false, false]);
        assert_eq!(stay(1), [Stay::Passes; 5]);
    }
}
