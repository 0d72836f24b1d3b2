//! Derived objects in transactions: created, extended, replaced and dropped beside what every file has, with every
//! block accounted for after each step, before the commit as well as after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis_core::internals::format::{BLOCK, Descriptor, Form, Header, PAGE_HEADER, catalog};
use chassis_core::internals::recovery;
use chassis_core::internals::storage::{Kind, MemoryVfs, OpenMode, OpenTuning, Store, Txn, Vfs, View};

use crate::surgery::Patient;

const STRIDE: u32 = 64;

/// A file in memory with small chunks and tables, so that a few rows make several of each.
struct Place {
    vfs: Arc<MemoryVfs>,
    path: PathBuf,
    tuning: OpenTuning,
}

impl Place {
    fn new() -> Place {
        Place::with(OpenTuning { fanout: Some(2), chunk_bytes: Some(256), ..OpenTuning::default() })
    }

    fn with(tuning: OpenTuning) -> Place {
        let place = Place { vfs: MemoryVfs::new(16 << 20), path: Path::new("index").into(), tuning };
        let header = Header { dimensions: 4, ..Header::default() };
        Store::create(&place.dyn_vfs(), &place.path, header, &place.tuning).expect("a new file");
        place
    }

    fn dyn_vfs(&self) -> Arc<dyn Vfs> {
        self.vfs.clone()
    }

    fn open(&self, mode: OpenMode) -> Store {
        Store::open(&self.dyn_vfs(), &self.path, mode, None, &self.tuning).expect("it opens")
    }

    fn writer(&self) -> Store {
        self.open(OpenMode::ReadWrite)
    }

    fn reader(&self) -> Store {
        self.open(OpenMode::ReadOnly)
    }
}

fn codes(generation: u16) -> Descriptor {
    Descriptor { generation, bits: 4, dimension: 4, ..Descriptor::rows(Kind::Codes4, STRIDE, 256) }
}

/// Row `n` of a generation.
fn row(generation: u16, n: usize) -> Vec<u8> {
    (0..STRIDE as usize).map(|i| (generation as usize * 101 + n * 7 + i) as u8).collect()
}

fn fill(txn: &mut Txn<'_>, generation: u16, rows: std::ops::Range<usize>) {
    rows.for_each(|n| txn.put_row(Kind::Codes4, n, &row(generation, n)).expect("a row"));
}

fn replace(txn: &mut Txn<'_>, generation: u16, rows: usize) {
    txn.replace(codes(generation)).expect("an empty object");
    fill(txn, generation, 0..rows);
}

/// The view has this generation with these rows, or none.
#[track_caller]
fn expect(view: &View, wanted: Option<(u16, usize)>) {
    let Some((generation, len)) = wanted else {
        return assert!(view.rows(Kind::Codes4).is_none(), "there are no codes");
    };
    let rows = view.rows(Kind::Codes4).expect("codes");
    assert_eq!((rows.descriptor().generation, rows.len()), (generation, len));
    for n in 0..len {
        assert_eq!(rows.get_verified(n).expect("a row"), row(generation, n), "row {n}");
    }
    assert!(rows.get(len).is_err(), "no row past the last");
}

/// Nothing is damaged, claimed twice, or lost.
#[track_caller]
fn sound(store: &Store) {
    let found = recovery::verify(store, &store.view(), true, &|| Ok(())).expect("it can be read");
    assert_eq!(found.problems, [], "commit {}", store.view().meta().txn);
}

#[test]
fn objects_come_grow_change_and_go() {
    let place = Place::new();
    let store = place.writer();
    let step = |wanted: Option<(u16, usize)>, change: &dyn Fn(&mut Txn<'_>)| {
        change(&mut store.txn().unwrap());
        expect(&store.view(), wanted);
        sound(&store);
        assert!(store.txn().unwrap().is_changed(), "{wanted:?} is a change");
        store.txn().unwrap().commit().unwrap();
        assert!(!store.txn().unwrap().is_changed(), "nothing is left after the commit");
        expect(&store.view(), wanted);
        sound(&store);
        let reader = place.reader();
        expect(&reader.view(), wanted);
        sound(&reader);
    };
    step(Some((1, 0)), &|txn| replace(txn, 1, 0));
    step(Some((1, 3)), &|txn| fill(txn, 1, 0..3));
    step(Some((1, 40)), &|txn| fill(txn, 1, 3..40));
    step(Some((2, 9)), &|txn| replace(txn, 2, 9));
    step(Some((3, 0)), &|txn| replace(txn, 3, 0));
    step(Some((4, 30)), &|txn| replace(txn, 4, 30));
    step(None, &|txn| txn.drop_object(Kind::Codes4).unwrap());
    step(Some((5, 5)), &|txn| replace(txn, 5, 5));
    // Twice in one transaction, the committed one and one of the transaction.
    step(Some((7, 12)), &|txn| {
        fill(txn, 5, 5..20);
        replace(txn, 6, 30);
        replace(txn, 7, 12);
    });
    // Gone and back, back and gone.
    step(Some((8, 2)), &|txn| {
        txn.drop_object(Kind::Codes4).unwrap();
        replace(txn, 8, 2);
    });
    step(None, &|txn| {
        replace(txn, 9, 17);
        txn.drop_object(Kind::Codes4).unwrap();
    });
}

#[test]
fn a_committed_descriptor_makes_an_empty_object() {
    let place = Place::new();
    let store = place.writer();
    replace(&mut store.txn().unwrap(), 1, 20);
    store.txn().unwrap().commit().unwrap();
    let again = store.view().rows(Kind::Codes4).unwrap().descriptor().clone();
    assert!(again.rows == 20 && again.units > 1);
    store.txn().unwrap().replace(again).unwrap();
    expect(&store.view(), Some((1, 0)));
    fill(&mut store.txn().unwrap(), 1, 0..2);
    store.txn().unwrap().commit().unwrap();
    expect(&place.reader().view(), Some((1, 2)));
    sound(&store);
}

#[test]
fn pages_of_a_derived_object() {
    let place = Place::new();
    let store = place.writer();
    assert!(store.view().optional_pages(Kind::Calibration).is_none());
    assert!(store.txn().unwrap().edit(Kind::Calibration, 0).is_err(), "there is no such object yet");
    for round in 1..4u32 {
        let mut txn = store.txn().unwrap();
        txn.replace(Descriptor::paged(Kind::Calibration)).unwrap();
        (0..3 * round as usize).for_each(|n| txn.edit(Kind::Calibration, n).unwrap().set(5, round));
        txn.commit().unwrap();
        drop(txn);
        sound(&store);
        let reader = place.reader();
        let view = reader.view();
        let pages = view.optional_pages(Kind::Calibration).expect("pages");
        assert_eq!(pages.count(), 3 * round as usize);
        (0..pages.count()).for_each(|n| assert_eq!(pages.get(n).unwrap().word(5), round));
        assert!(view.rows(Kind::Calibration).is_none() && view.optional_pages(Kind::Model).is_none());
    }
}

#[test]
fn rows_of_several_blocks_are_freed_whole() {
    let place = Place::new();
    let store = place.writer();
    for round in 1..5u8 {
        let mut txn = store.txn().unwrap();
        txn.replace(Descriptor::rows(Kind::EntryBlock, 9_000, 256)).unwrap();
        (0..3).for_each(|n| txn.put_row(Kind::EntryBlock, n, &[round; 9_000]).unwrap());
        txn.commit().unwrap();
        drop(txn);
        sound(&store);
        let view = place.reader().view();
        let rows = view.rows(Kind::EntryBlock).unwrap();
        (0..3).for_each(|n| assert_eq!(rows.get_verified(n).unwrap(), [round; 9_000]));
    }
}

#[test]
fn rollback_returns_to_the_committed_objects() {
    let place = Place::new();
    let store = place.writer();
    let model = Descriptor::rows(Kind::Model, 64, 256);
    replace(&mut store.txn().unwrap(), 1, 10);
    store.txn().unwrap().commit().unwrap();
    let changes: [&dyn Fn(&mut Txn<'_>); 6] = [
        &|txn| replace(txn, 2, 25),
        &|txn| replace(txn, 2, 0),
        &|txn| txn.drop_object(Kind::Codes4).unwrap(),
        &|txn| fill(txn, 1, 10..30),
        &|txn| {
            fill(txn, 1, 10..90);
            replace(txn, 2, 3);
            txn.drop_object(Kind::Codes4).unwrap();
            txn.edit(Kind::Lists, 0).unwrap().set(0, 7);
        },
        &|txn| {
            txn.replace(model.clone()).unwrap();
            txn.put_row(Kind::Model, 0, &[9; 64]).unwrap();
        },
    ];
    for change in changes {
        let (before, bytes) = (store.view().meta().txn, place.vfs.bytes(&place.path));
        change(&mut store.txn().unwrap());
        store.txn().unwrap().rollback().unwrap();
        expect(&store.view(), Some((1, 10)));
        assert!(store.view().rows(Kind::Model).is_none() && store.view().pages(Kind::Lists).count() == 0);
        assert!(!store.txn().unwrap().is_changed());
        assert_eq!(store.txn().unwrap().commit().unwrap(), before, "there is nothing to commit");
        assert!(place.vfs.bytes(&place.path) == bytes, "nothing was written");
        sound(&store);
    }
    fill(&mut store.txn().unwrap(), 1, 10..11);
    store.txn().unwrap().commit().unwrap();
    expect(&place.reader().view(), Some((1, 11)));
    sound(&store);
}

#[test]
fn readers_keep_the_objects_they_opened_and_blocks_come_back() {
    let place = Place::new();
    let store = place.writer();
    let generation = |g: u16| {
        replace(&mut store.txn().unwrap(), g, 40);
        store.txn().unwrap().commit().unwrap();
        sound(&store);
    };
    generation(1);
    let first = place.reader();
    let search = store.view();
    (2..6).for_each(generation);
    let second = place.reader();
    (6..12).for_each(generation);
    // Content is read for the first time only now, where blocks used too early would hold something else.
    expect(&first.view(), Some((1, 40)));
    expect(&search, Some((1, 40)));
    expect(&second.view(), Some((5, 40)));
    sound(&first);
    sound(&second);
    let pinned = store.view().meta().blocks;
    drop((first, second, search));
    (12..40).for_each(generation);
    assert_eq!(store.view().meta().blocks, pinned, "freed blocks are used again");
    expect(&place.reader().view(), Some((39, 40)));
}

#[test]
fn only_sound_derived_objects_are_made() {
    let place = Place::new();
    let store = place.writer();
    let mut txn = store.txn().unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_derived()) {
        assert!(txn.replace(Descriptor::paged(kind)).is_err(), "{kind:?} is no derived object");
        assert!(txn.drop_object(kind).is_err(), "{kind:?} is no derived object");
    }
    let unsound: [&dyn Fn(&mut Descriptor); 4] =
        [&|d| d.stride = 0, &|d| d.chunk_shift = 40, &|d| d.stride = 1 << 29, &|d| d.kind = 99];
    for change in unsound {
        let mut descriptor = codes(1);
        change(&mut descriptor);
        assert!(txn.replace(descriptor.clone()).is_err(), "{descriptor:?}");
    }
    assert!(!txn.is_changed(), "what is refused changes nothing");
    txn.replace(codes(1)).unwrap();
    assert!(txn.put_row(Kind::Codes4, 1, &[0; 64]).is_err(), "row 1 before row 0");
    assert!(txn.put_row(Kind::Codes4, 0, &[0; 65]).is_err(), "longer than a row");
    assert!(txn.put_row(Kind::Codes8, 0, &[0; 8]).is_err(), "no such object");
}

#[test]
fn rows_from_several_threads() {
    let place = Place::new();
    let store = place.writer();
    let mut txn = store.txn().unwrap();
    assert!(txn.row_writer(Kind::Codes4).is_err() && txn.reserve_rows(Kind::Codes4, 9).is_err(), "no object");
    replace(&mut txn, 1, 6);
    txn.commit().unwrap();
    // From the middle of a committed chunk to the middle of another.
    for upto in [7, 50, 50, 203] {
        let first = txn.view().rows(Kind::Codes4).unwrap().len();
        txn.reserve_rows(Kind::Codes4, upto).unwrap();
        let writer = txn.row_writer(Kind::Codes4).unwrap();
        assert!(writer.rows().start == first && writer.rows().end >= upto);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let writer = &writer;
                let rows = (first..upto).filter(move |n| n % 3 == thread);
                scope.spawn(move || rows.for_each(|n| writer.write(n, &row(1, n)).expect("a row")));
            }
        });
        for n in (first..upto).chain([first - 1, writer.rows().end]) {
            assert!(writer.write(n, &row(1, n)).is_err(), "row {n}: written, published or not reserved");
        }
        assert!(writer.rows().end == upto || writer.write(upto, &[0; 65]).is_err(), "longer than a row");
        expect(&store.view(), Some((1, first)));
        txn.publish_rows(Kind::Codes4, upto).unwrap();
        expect(&store.view(), Some((1, upto)));
        assert!(txn.publish_rows(Kind::Codes4, upto + 64).is_err(), "more than reserved");
    }
    txn.commit().unwrap();
    drop(txn);
    expect(&place.reader().view(), Some((1, 203)));
    sound(&store);
}

#[test]
fn rows_by_any_way_make_the_same_file_and_unpublished_ones_leave_no_trace() {
    let file = |fill: &dyn Fn(&mut Txn<'_>)| {
        let place = Place::new();
        let store = place.writer();
        let mut txn = store.txn().unwrap();
        txn.replace(codes(1)).unwrap();
        fill(&mut txn);
        txn.commit().unwrap();
        drop(txn);
        expect(&store.view(), Some((1, 21)));
        fill_and_check(&place, &store);
        place.vfs.bytes(&place.path).unwrap()
    };
    fn fill_and_check(place: &Place, store: &Store) {
        fill(&mut store.txn().unwrap(), 1, 21..30);
        store.txn().unwrap().commit().unwrap();
        expect(&place.reader().view(), Some((1, 30)));
        sound(store);
    }
    let one_by_one = file(&|txn| fill(txn, 1, 0..21));
    let reserved = file(&|txn| {
        txn.reserve_rows(Kind::Codes4, 60).unwrap();
        let writer = txn.row_writer(Kind::Codes4).unwrap();
        (0..21).for_each(|n| writer.write(n, &row(1, n)).unwrap());
        (21..60).for_each(|n| writer.write(n, &[0xee; 64]).unwrap());
        txn.publish_rows(Kind::Codes4, 21).unwrap();
    });
    assert!(one_by_one == reserved, "the files differ");
}

#[test]
fn what_is_only_reserved_is_no_change() {
    let place = Place::new();
    let store = place.writer();
    let mut txn = store.txn().unwrap();
    replace(&mut txn, 1, 5);
    let commit = txn.commit().unwrap();
    txn.reserve_rows(Kind::Codes4, 40).unwrap();
    txn.row_writer(Kind::Codes4).unwrap().write(5, &[1; 64]).unwrap();
    assert!(!txn.is_changed());
    assert_eq!(txn.commit().unwrap(), commit);
    txn.rollback().unwrap();
    assert!(txn.publish_rows(Kind::Codes4, 6).is_err(), "the rollback forgot what was reserved");
    fill(&mut txn, 1, 5..6);
    txn.reserve_rows(Kind::Codes4, 40).unwrap();
    txn.set_user_version(3);
    txn.commit().unwrap();
    drop(txn);
    expect(&place.reader().view(), Some((1, 6)));
    sound(&store);
}

#[test]
fn a_damaged_object_can_be_replaced() {
    let place = Place::new();
    let store = place.writer();
    replace(&mut store.txn().unwrap(), 1, 20);
    store.txn().unwrap().commit().unwrap();
    drop(store);
    let root = Patient::new(place.vfs.bytes(&place.path).unwrap()).object(Kind::Codes4).root;
    let mut bytes = place.vfs.bytes(&place.path).unwrap();
    bytes[root.block as usize * BLOCK + 70] ^= 1;
    place.vfs.put(&place.path, &bytes);
    let store = place.writer();
    assert!(store.view().rows(Kind::Codes4).unwrap().get(0).is_err(), "the table is damaged");
    replace(&mut store.txn().unwrap(), 2, 20);
    store.txn().unwrap().commit().unwrap();
    expect(&place.reader().view(), Some((2, 20)));
    // What the damaged table named cannot be given back.
    let found = recovery::verify(&store, &store.view(), true, &|| Ok(())).unwrap();
    assert_eq!(found.problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["block-leaked"]);
}

/// A file whose catalog was changed by somebody else.
fn with_catalog(change: impl FnOnce(&mut Vec<Descriptor>)) -> Place {
    let place = Place::with(OpenTuning::default());
    let store = place.writer();
    let mut txn = store.txn().unwrap();
    // One chunk each: table pages name the kind of their object.
    txn.replace(Descriptor { chunk_shift: 6, ..codes(1) }).unwrap();
    fill(&mut txn, 1, 0..9);
    txn.replace(Descriptor::rows(Kind::Codes8, 64, 4096)).unwrap();
    (0..9).for_each(|n| txn.put_row(Kind::Codes8, n, &row(1, n)).unwrap());
    txn.commit().unwrap();
    drop(txn);
    drop(store);
    let mut patient = Patient::new(place.vfs.bytes(&place.path).unwrap());
    let at = patient.meta.catalog.block as usize * BLOCK;
    change(&mut patient.objects);
    patient.bytes[at + PAGE_HEADER..at + BLOCK].fill(0);
    catalog::encode(&patient.objects, &mut patient.bytes[at..at + BLOCK]);
    patient.sign_commit();
    place.vfs.put(&place.path, &patient.bytes);
    place
}

#[test]
fn an_odd_derived_object_is_no_reason_to_refuse_a_file() {
    let of = |objects: &mut Vec<Descriptor>, kind: Kind| {
        objects.iter().position(|d| d.kind == kind as u16).expect("an object")
    };
    // Two of a kind are none, and what replaces them frees the blocks of both.
    let place = with_catalog(|objects| {
        let eight = of(objects, Kind::Codes8);
        objects[eight].kind = Kind::Codes4 as u16;
    });
    let store = place.writer();
    expect(&store.view(), None);
    replace(&mut store.txn().unwrap(), 2, 5);
    store.txn().unwrap().commit().unwrap();
    expect(&place.reader().view(), Some((2, 5)));
    sound(&store);
    // Of another form, and of a layout nobody knows.
    let place = with_catalog(|objects| {
        let (four, eight) = (of(objects, Kind::Codes4), of(objects, Kind::Codes8));
        (objects[four].form, objects[four].rows) = (Form::Paged, 0);
        (objects[eight].version, objects[eight].bits, objects[eight].flags) = (99, 17, 255);
    });
    let store = place.writer();
    expect(&store.view(), None);
    assert_eq!(store.view().rows(Kind::Codes8).unwrap().descriptor().version, 99);
    store.txn().unwrap().drop_object(Kind::Codes4).unwrap();
    store.txn().unwrap().commit().unwrap();
    assert!(place.reader().view().optional_pages(Kind::Codes4).is_none());
    sound(&store);
}

#[test]
fn kinds_nobody_knows_are_carried_along_and_fill_the_catalog() {
    let strange = |n: usize| Descriptor { kind: 900 + n as u16, ..Descriptor::paged(Kind::Model) };
    let place = with_catalog(|objects| {
        let four = objects.iter().position(|d| d.kind == Kind::Codes4 as u16).unwrap();
        objects[four].kind = 800;
        (0..catalog::MAX_OBJECTS - objects.len()).for_each(|n| objects.insert(n % 3, strange(n)));
    });
    let store = place.writer();
    assert!(store.txn().unwrap().replace(codes(1)).is_err(), "the catalog is full");
    let eight = store.view().rows(Kind::Codes8).unwrap().descriptor().clone();
    store.txn().unwrap().replace(eight).unwrap();
    store.txn().unwrap().commit().unwrap();
    sound(&store);
    let objects = Patient::new(place.vfs.bytes(&place.path).unwrap()).objects;
    assert_eq!(objects.len(), catalog::MAX_OBJECTS);
    let carried = objects.iter().find(|d| d.kind == 800).expect("the object of an unknown kind");
    assert_eq!((carried.rows, carried.generation), (9, 1));
}
