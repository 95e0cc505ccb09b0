//! What threads other than the one that steps may read and do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{eventfd, EventfdFlags};
use serde_json::Value;

use crate::io::netdev::State;

/// The last published counters and states, and a bell.
pub struct Shared {
    stats: Mutex<Arc<Value>>,
    interface: AtomicU8,
    output: AtomicU8,
    bell: OwnedFd,
}

impl Shared {
    pub(super) fn new() -> std::io::Result<Shared> {
        Ok(Shared {
            stats: Mutex::default(),
            interface: AtomicU8::new(0),
            output: AtomicU8::new(0),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// The counters, of at most a second ago; of the last step, where none runs.
    pub fn stats(&self) -> Arc<Value> {
        // Held only for as long as a pointer is copied.
        self.stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_stats(&self, stats: Value) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(stats);
    }

    /// How the interface and the output are.
    pub fn states(&self) -> (State, State) {
        (
            state(self.interface.load(Ordering::Relaxed)),
            state(self.output.load(Ordering::Relaxed)),
        )
    }

    pub(super) fn set_states(&self, interface: State, output: State) {
        self.interface.store(interface as u8, Ordering::Relaxed);
        self.output.store(output as u8, Ordering::Relaxed);
    }

    /// Ends the step that runs, or the next one.
    pub fn wake(&self) {
        // It can only fail by being rung 2^64 times already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Whether the bell was rung; it is still again afterwards.
    pub(super) fn take_wake(&self) -> bool {
        rustix::io::read(&self.bell, &mut [0u8; 8][..]).is_ok()
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

fn state(number: u8) -> State {
    match number {
        0 => State::Up,
        1 => State::Down,
        _ => State::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_the_way_through_a_number() {
        let shared = Shared::new().unwrap();
        for interface in [State::Up, State::Down, State::Gone] {
            for output in [State::Up, State::Down, State::Gone] {
                shared.set_states(interface, output);
                assert_eq!(shared.states(), (interface, output));
            }
        }
    }

    #[test]
    fn the_bell_rings_once_however_often_it_was_rung() {
        let shared = Shared::new().unwrap();
        assert!(!shared.take_wake());
        shared.wake();
        shared.wake();
        assert!(shared.take_wake());
        assert!(!shared.take_wake());
    }
}
