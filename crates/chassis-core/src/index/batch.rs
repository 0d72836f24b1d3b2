//! Many queries in one call: groups of them handed out to threads, each group answered as single searches would.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Neighbor, NodeId};
use crate::index::options::{SearchBatchOptions, SearchOptions};
use crate::index::scan::ManyScan;
use crate::index::search::as_stated;
use crate::index::share::{Proceed, proceed, share};
use crate::index::{Hits, Inner};
use crate::kernels::{self, TILE_QUERIES};
use crate::storage::View;

/// Queries a thread walks for before it asks for more: enough to make asking cheap, few enough to end together.
const WALKS: usize = 8;
/// Packs of sixteen queries that one pass over the rows serves. Eight of them spread what a row costs once (memory,
/// length, checks) over 128 queries.
const PACKS: usize = 8;
/// Most floats of the packs of a pass, which stay in the second cache.
const PACKED: usize = 96 << 10;
/// Pieces of work a thread, so that all end at about the same time.
const PIECES: usize = 4;
/// Fewest rows of a piece: each begins with an empty list, and measures until it has filled it.
const FEWEST_ROWS: usize = 4096;

/// What can be cancelled here.
const WORK: &str = "the batch of searches";

impl Inner {
    /// See [`crate::VectorIndex::search_batch`]. All queries see one state.
    pub(crate) fn search_batch(
        &self,
        queries: &[f32],
        options: &SearchOptions,
        batch: &SearchBatchOptions<'_>,
    ) -> Result<Vec<Hits>> {
        let dimensions = self.header.dimensions as usize;
        if !queries.len().is_multiple_of(dimensions) {
            return Err(Error::new(
                ErrorKind::DimensionMismatch,
                format!("{} values are not whole queries of {dimensions} dimensions", queries.len()),
            ));
        }
        let aim = options.aim()?;
        queries.chunks(dimensions).try_for_each(|query| self.check_query(query))?;
        let threads = batch.threads.unwrap_or_else(super::default_threads).max(1);
        let view = self.store.view();
        if queries.is_empty() || options.k == 0 || view.live_count() == 0 {
            return Ok(vec![Hits::default(); queries.len() / dimensions]);
        }
        if self.is_scan(&view, options) {
            return self.scan_batch(&view, queries, options, threads, &|| proceed(batch.cancel, WORK));
        }
        let groups: Vec<&[f32]> = queries.chunks(WALKS * dimensions).collect();
        let walk = |group: usize| {
            let mut all = Vec::with_capacity(WALKS);
            for query in groups[group].chunks(dimensions) {
                proceed(batch.cancel, WORK)?;
                let mut hits = Hits::default();
                self.search_view(&view, query, options, aim, &mut hits)?;
                all.push(hits);
            }
            Ok(all)
        };
        Ok(share(groups.len(), threads, walk)?.into_iter().flatten().collect())
    }

    /// Scans tiles of queries over parts of the rows, then merges the parts.
    fn scan_batch(
        &self,
        view: &View,
        queries: &[f32],
        options: &SearchOptions,
        threads: usize,
        proceed: Proceed<'_>,
    ) -> Result<Vec<Hits>> {
        let found = self.scan_nodes(view, queries, options.k, threads, proceed)?;
        let groups: Vec<&[Vec<Neighbor>]> = found.chunks(WALKS).collect();
        let answer = |group: usize| {
            let mut all = Vec::with_capacity(WALKS);
            for found in groups[group] {
                let mut near = found.clone();
                as_stated(&mut near, self.metric, options.radius);
                let mut hits = Hits::default();
                self.fill(view, &near, &mut hits)?;
                all.push(hits);
            }
            Ok(all)
        };
        Ok(share(groups.len(), threads, answer)?.into_iter().flatten().collect())
    }

    /// The exact `k` nearest live nodes of each query, at internal distances.
    pub(crate) fn scan_nodes(
        &self,
        view: &View,
        queries: &[f32],
        k: usize,
        threads: usize,
        proceed: Proceed<'_>,
    ) -> Result<Vec<Vec<Neighbor>>> {
        let dimensions = self.header.dimensions as usize;
        let count = view.node_count();
        let tiles: Vec<&[f32]> =
            queries.chunks(tile_queries(queries.len() / dimensions, dimensions) * dimensions).collect();
        let parts = row_parts(count as usize, tiles.len(), threads);
        let bound = |part: usize| (count as u64 * part as u64 / parts as u64) as NodeId;
        let found = share(tiles.len() * parts, threads, |piece| {
            proceed()?;
            let (tile, part) = (piece / parts, piece % parts);
            let nodes = bound(part)..bound(part + 1);
            kernels::dispatch(ManyScan {
                view,
                metric: self.metric,
                queries: tiles[tile],
                dimensions,
                k,
                nodes,
            })
        })?;
        let merge = |tile: usize| {
            let parts = &found[tile * parts..][..parts];
            let mut merged = Vec::new();
            for query in 0..tiles[tile].len() / dimensions {
                let mut all: Vec<Neighbor> = parts.iter().flat_map(|part| &part[query]).copied().collect();
                all.sort_unstable();
                all.truncate(k);
                merged.push(all);
            }
            Ok(merged)
        };
        Ok(share(tiles.len(), threads, merge)?.into_iter().flatten().collect())
    }
}

/// Queries of one pass over the rows: as many as stay in a cache, in passes of about one size.
fn tile_queries(queries: usize, dimensions: usize) -> usize {
    let packs = (PACKED / (TILE_QUERIES * dimensions)).clamp(1, PACKS);
    let passes = queries.div_ceil(packs * TILE_QUERIES).max(1);
    queries.div_ceil(passes).next_multiple_of(TILE_QUERIES)
}

/// Parts the rows are cut into, so that there is work for all threads.
fn row_parts(rows: usize, tiles: usize, threads: usize) -> usize {
    if threads == 1 {
        return 1;
    }
    threads.saturating_mul(PIECES).div_ceil(tiles).min(rows / FEWEST_ROWS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_even_and_fit_the_cache() {
        assert_eq!(tile_queries(1_000, 100), 128);
        assert_eq!(tile_queries(130, 100), 80);
        assert_eq!(tile_queries(1, 100), 16);
        assert_eq!(tile_queries(1_000, 1_536), 64);
        assert_eq!(tile_queries(1_000, 65_535), 16);
        assert_eq!((row_parts(340_000, 8, 1), row_parts(340_000, 8, 2), row_parts(340_000, 1, 2)), (1, 1, 8));
        assert_eq!((row_parts(10_000, 1, 8), row_parts(100, 1, 8), row_parts(100, 1, usize::MAX)), (2, 1, 1));
    }
}
