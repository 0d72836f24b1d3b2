//! For the tests of the graph: points of the plane, and lists in memory.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;

use super::level::hash;
use super::work::sort_candidates;
use super::*;

/// Points of the plane under squared distance, or under minus the inner product.
pub(super) struct Plane {
    pub(super) points: Vec<[f32; 2]>,
    pub(super) inner: bool,
    /// How far the distances of guides may be off, as a share of them.
    pub(super) error: f32,
}

impl Plane {
    pub(super) fn new(points: Vec<[f32; 2]>) -> Plane {
        Plane { points, inner: false, error: 0.0 }
    }

    /// Points in clusters, the same for the same seed.
    pub(super) fn random(count: usize, seed: u64) -> Plane {
        let unit = |i: u64| (hash(seed << 32 ^ i) >> 40) as f32 / (1 << 24) as f32;
        let point = |i: u64| {
            let cluster = hash(seed ^ i) % 9;
            [unit(2 * i) + 3.0 * (cluster % 3) as f32, unit(2 * i + 1) + 3.0 * (cluster / 3) as f32]
        };
        Plane::new((0..count as u64).map(point).collect())
    }

    pub(super) fn distance(&self, a: NodeId, b: NodeId) -> f32 {
        let ([ax, ay], [bx, by]) = (self.points[a as usize], self.points[b as usize]);
        if self.inner {
            return step::finite(-(ax * bx + ay * by));
        }
        step::finite((ax - bx) * (ax - bx) + (ay - by) * (ay - by))
    }

    /// All other nodes, sorted as candidates of `node` are.
    pub(super) fn sorted_around(&self, node: NodeId) -> Vec<Neighbor> {
        let others = (0..self.points.len() as NodeId).filter(|other| *other != node);
        let mut all: Vec<Neighbor> =
            others.map(|other| Neighbor { distance: self.distance(node, other), node: other }).collect();
        sort_candidates(node, &mut all);
        all
    }
}

/// Point sets that tear graphs apart.
pub(super) fn shapes(seed: u64) -> Vec<(&'static str, Plane)> {
    let random = Plane::random(1_200, seed);
    let mut lattice = Vec::new();
    (0..30).for_each(|x| lattice.extend((0..30).map(|y| [x as f32, y as f32])));
    let mut copies = vec![[0.5, 0.5]; 900];
    copies.extend(Plane::random(300, seed).points);
    let mut late_copies = Plane::random(300, seed).points;
    late_copies.extend(vec![[40.0, 40.0]; 700]);
    let line = (0..1_000).map(|i| [(i as f32).powi(3), 0.0]).collect();
    let far = |i: u32| [f32::MAX * if i.is_multiple_of(2) { 1.0 } else { -1.0 }, i as f32];
    let inner = Plane { inner: true, ..Plane::random(1_000, seed) };
    let rough = Plane { error: 0.5, ..Plane::random(1_000, seed) };
    vec![
        ("random", random),
        ("lattice", Plane::new(lattice)),
        ("copies first", Plane::new(copies)),
        ("copies last", Plane::new(late_copies)),
        ("a line", Plane::new(line)),
        ("infinitely far", Plane::new((0..600).map(far).collect())),
        ("inner product", inner),
        ("rough guides", rough),
    ]
}

pub(super) struct PlanePoint<'a>(&'a Plane, NodeId);

impl Point for PlanePoint<'_> {
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        nodes.map(|node| self.0.distance(self.1, node))
    }
    fn prefetch(&self, node: NodeId) {
        assert!((node as usize) < self.0.points.len(), "prefetch of {node}");
    }
}

/// A point whose distances are off by up to the error of the plane.
pub(super) struct PlaneGuide<'a>(&'a Plane, NodeId);

impl Point for PlaneGuide<'_> {
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        let PlaneGuide(plane, node) = *self;
        nodes.map(|other| {
            let random = (hash((node as u64) << 32 | other as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            plane.distance(node, other) * (1.0 + plane.error * random)
        })
    }
    fn prefetch(&self, node: NodeId) {
        PlanePoint(self.0, self.1).prefetch(node);
    }
}

impl Space for Plane {
    const ESTIMATES: bool = true;
    type Point<'p> = PlanePoint<'p>;
    type Buffer = ();
    type Guide<'p> = PlaneGuide<'p>;
    fn point(&self, node: NodeId) -> PlanePoint<'_> {
        PlanePoint(self, node)
    }
    fn guide<'p>(&'p self, node: NodeId, _: &'p mut ()) -> PlaneGuide<'p> {
        PlaneGuide(self, node)
    }
}

/// Neighbor lists in memory.
pub(super) struct MemoryLists {
    m: usize,
    m0: usize,
    base: Vec<AtomicU32>,
    upper: Vec<Vec<AtomicU32>>,
}

impl MemoryLists {
    pub(super) fn new(params: &Params) -> MemoryLists {
        MemoryLists { m: params.m, m0: params.m0, base: Vec::new(), upper: Vec::new() }
    }

    pub(super) fn count(&self) -> u32 {
        self.upper.len() as u32
    }

    /// Adds nodes with empty lists.
    pub(super) fn grow(&mut self, count: u32) {
        for node in self.count()..count {
            let none = |len| std::iter::repeat_with(|| AtomicU32::new(NONE)).take(len);
            self.base.extend(none(self.m0));
            self.upper.push(none(self.m * level_of(node, self.m) as usize).collect());
        }
    }

    /// Makes the slots of layer 0 longer than the degree bound.
    pub(super) fn widen(&mut self, m0: usize) {
        let old: Vec<Vec<u32>> = (0..self.count()).map(|node| self.list(0, node)).collect();
        self.m0 = m0;
        self.base = std::iter::repeat_with(|| AtomicU32::new(NONE)).take(m0 * old.len()).collect();
        (0u32..).zip(&old).for_each(|(node, list)| self.write(0, node, list));
    }

    /// A list without its end.
    pub(super) fn list(&self, layer: u8, node: NodeId) -> Vec<NodeId> {
        let slots = if layer == 0 { self.base(node) } else { self.upper(node, layer) };
        slots.iter().map(|slot| slot.load(Ordering::Relaxed)).take_while(|id| *id != NONE).collect()
    }

    /// Every list, for comparing two graphs.
    pub(super) fn all(&self) -> Vec<Vec<NodeId>> {
        let of = |node| (0..=level_of(node, self.m)).map(move |layer| self.list(layer, node));
        (0..self.count()).flat_map(of).collect()
    }
}

impl Lists for MemoryLists {
    fn base(&self, node: NodeId) -> &[AtomicU32] {
        self.base.get(node as usize * self.m0..).and_then(|rest| rest.get(..self.m0)).unwrap_or(&[])
    }
    fn upper(&self, node: NodeId, layer: u8) -> &[AtomicU32] {
        let slots = self.upper.get(node as usize).map_or(&[][..], |slots| slots);
        slots.chunks(self.m).nth(layer as usize - 1).unwrap_or(&[])
    }
    fn prefetch(&self, node: NodeId) {
        assert!(node < self.count(), "prefetch of {node}");
    }
}

impl LinkWriter for MemoryLists {
    fn prepare(&mut self, _: &[(u8, NodeId)]) -> Result<()> {
        Ok(())
    }
    fn write(&self, layer: u8, node: NodeId, list: &[NodeId]) {
        let slots = if layer == 0 { self.base(node) } else { self.upper(node, layer) };
        assert!(list.len() <= slots.len());
        for (i, slot) in slots.iter().enumerate() {
            slot.store(list.get(i).copied().unwrap_or(NONE), Ordering::Relaxed);
        }
    }
}

/// A graph under construction.
pub(super) struct Build {
    pub(super) space: Plane,
    pub(super) lists: MemoryLists,
    pub(super) params: Params,
    pub(super) entry: Option<(NodeId, u8)>,
}

impl Build {
    pub(super) fn new(space: Plane, params: Params) -> Build {
        params.validate().unwrap();
        Build { lists: MemoryLists::new(&params), space, params, entry: None }
    }

    /// Inserts all points, `batch` at a time.
    pub(super) fn insert(self, batch: impl Fn(usize) -> usize, threads: usize) -> Build {
        self.insert_with(batch, Selection::Provisional, threads)
    }

    /// [`Build::insert`], which is provisional, with lists selected in another way.
    pub(super) fn insert_with(
        mut self,
        batch: impl Fn(usize) -> usize,
        selection: Selection,
        threads: usize,
    ) -> Build {
        let mut scratch = Vec::new();
        while (self.lists.count() as usize) < self.space.points.len() {
            let first = self.lists.count();
            let count = batch(first as usize).min(self.space.points.len() - first as usize) as u32;
            self.lists.grow(first + count);
            let Build { space, lists, params, entry } = &mut self;
            *entry = Some(
                insert_batch(space, lists, first, count, *entry, params, selection, threads, &mut scratch)
                    .unwrap(),
            );
        }
        self
    }

    pub(super) fn fill(mut self, threads: usize) -> Build {
        let Build { space, lists, params, .. } = &mut self;
        fill(space, lists, space.points.len() as u32, params, threads, &mut Vec::new()).unwrap();
        self
    }

    /// Refines the graph, whatever the distances.
    pub(super) fn refine(mut self, alpha: f32, ef: usize, threads: usize) -> Build {
        let Build { space, lists, params, entry } = &mut self;
        let (count, entry) = (space.points.len() as u32, entry.unwrap().0);
        let scratch = &mut Vec::new();
        refine(space, lists, count, entry, params, alpha, ef, threads, scratch, &|_, _| true).unwrap();
        self
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let m = self.params.m;
        check(&self.lists, self.lists.count(), self.entry, &self.params, |node| level_of(node, m)).unwrap()
    }

    /// The invariants, and that node 0 can be reached from every node: with the check's own walk from the entry
    /// point that makes every node reachable from every other.
    pub(super) fn assert_sound(&self, what: &str) {
        assert_eq!(self.problems(), [], "{what}");
        let count = self.lists.count();
        let mut back = vec![Vec::new(); count as usize];
        for node in 0..count {
            self.lists.list(0, node).iter().for_each(|to| back[*to as usize].push(node));
        }
        let mut reached = vec![false; count as usize];
        let mut open: Vec<NodeId> = vec![0];
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node as usize], true) {
                open.extend(&back[node as usize]);
            }
        }
        assert_eq!(reached.iter().position(|reached| !reached), None, "{what}: no way to node 0");
        for node in 1..count {
            let parent = self.lists.list(0, node)[0];
            assert!(self.lists.list(0, parent).contains(&node), "{what}: node {node} of parent {parent}");
        }
    }
}
