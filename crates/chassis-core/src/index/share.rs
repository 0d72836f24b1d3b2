//! Pieces of work for several threads, with outcomes that do not depend on their number.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Asked all the time by work that takes long, which ends with what it fails with.
pub(crate) type Proceed<'a> = &'a (dyn Fn() -> Result<()> + Sync);

/// Fails once somebody has set the flag.
pub(crate) fn proceed(cancel: Option<&AtomicBool>, what: &str) -> Result<()> {
    match cancel {
        Some(flag) if flag.load(Ordering::Relaxed) => {
            Err(Error::new(ErrorKind::Cancelled, format!("{what} was cancelled")))
        }
        _ => Ok(()),
    }
}

/// Does pieces of work, numbered from 0, on up to `threads` threads of which the caller's is one. The outcomes come
/// in order; of several errors the one with the lowest number counts, whatever the threads did.
pub(crate) fn share<T: Send>(
    pieces: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut done = Vec::new();
        // A piece taken is finished, and pieces are taken in order: all before the first error are there.
        while !stop.load(Ordering::Relaxed) {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                break;
            }
            let outcome = work(piece);
            stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
            done.push((piece, outcome));
        }
        done
    };
    let run = &run;
    let mut done = std::thread::scope(|scope| {
        // When the system gives no more threads, those there are do the work.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, run).ok();
        let others: Vec<_> = (1..threads.min(pieces)).map_while(spawn).collect();
        let mut done = run();
        for other in others {
            let died = |_| Error::new(ErrorKind::Internal, "a search thread panicked");
            done.extend(other.join().map_err(died)?);
        }
        Ok(done)
    })?;
    done.sort_unstable_by_key(|(piece, _)| *piece);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_order_and_the_first_error_counts() {
        for threads in [1, 2, 3, 8, 100] {
            let squares = share(50, threads, |piece| Ok(piece * piece)).expect("no piece fails");
            assert!(squares.into_iter().eq((0..50).map(|i| i * i)), "{threads} threads");
            let failing = |piece: usize| match piece {
                7 | 9 | 30 => Err(Error::new(ErrorKind::Io, format!("piece {piece}"))),
                _ => Ok(()),
            };
            let error = share(50, threads, failing).expect_err("pieces fail");
            assert_eq!(error.message(), "piece 7", "{threads} threads");
        }
        assert!(share(0, 4, |_| Ok(())).expect("no work").is_empty());
    }

    #[test]
    fn a_panic_of_a_thread_is_an_error() {
        let caller = std::thread::current().id();
        let barrier = std::sync::Barrier::new(2);
        let outcome = share(2, 2, |_| {
            barrier.wait();
            assert!(std::thread::current().id() == caller, "a deliberate panic");
            Ok(())
        });
        assert_eq!(outcome.expect_err("one of two threads panics").kind(), ErrorKind::Internal);
    }
}
