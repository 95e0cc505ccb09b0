//! Capture ring -> engine -> tap: joins [`crate::io`] and [`crate::engine`] for packets that are on the
//! wire now.
//!
//! ```text
//! ring block [ frame | frame | frame ... ]          one wake-up
//!                 │ pushed where it lies
//!               engine ── held packets ──┐
//!                 │ rewritten in place   │ copies
//!                 └──────> port <────────┘          one write a frame, in the engine's order
//! ```
//!
//! One thread steps; others read what was published ([`Shared`]) and never wait for it. Time is the
//! packets' own while they come, and the system's clock, behind by what a block may take, while they
//! do not: so a hold never ends because of a packet that is still in the ring.

mod counts;
mod shared;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use serde_json::Value;

use crate::engine::{Checksum, Engine, Fate, Link, Meta, Nanos, Output};
use crate::io::block::{Frame, Walk};
use crate::io::netdev::{Probe, State};
use crate::io::port::{Kind, Port};
use crate::io::ring::{Ring, Settings};
use crate::io::vnet::Vnet;
use crate::io::Error;

use counts::Counts;
pub use shared::Shared;

/// How often the devices are looked at, and how long what is published may be old.
const LOOK: Duration = Duration::from_secs(1);
const PUBLISH: Duration = Duration::from_millis(100);
/// How long records wait for more of them before a step ends, and the bytes at which they do not wait.
const RECORDS_WAIT: Duration = Duration::from_millis(50);
const RECORDS_MOST: usize = 1 << 20;
/// How late the end of a hold may come where no packet brings the time.
const HELD_TICK: Duration = Duration::from_millis(100);

/// The engine's way out.
struct Outlet<'a>(&'a mut Port);

impl Output for Outlet<'_> {
    fn emit(&mut self, _slot: u64, meta: &Meta, frame: &[u8]) {
        // Frames whose order or number the engine changed; what is no TCP is a fragment, and of those
        // nothing is left to hardware.
        self.0.send_copy(frame, Vnet::of(meta, frame, Vnet::NONE));
    }

    fn settle(&mut self, _slot: u64) {}
}

/// One worker: its ring, its engine, its way out.
pub struct Live {
    settings: Settings,
    probe: Probe,
    ring: Ring,
    engine: Engine,
    port: Port,
    slot: u64,
    counts: Counts,
    /// How the interface is, as far as is known.
    interface: State,
    looked: Instant,
    published: Instant,
    /// Whether something happened since.
    is_changed: bool,
    /// Since when records wait to be taken.
    records_since: Option<Instant>,
    shared: Arc<Shared>,
}

impl Live {
    /// Opens the ring. `output` is copied. To be called, as [`Live::reopen`], in the network namespace of
    /// both devices.
    ///
    /// Errors: ENODEV if the interface is absent; [`Error::Unfit`] for settings that cannot be.
    pub fn new(
        engine: Engine,
        settings: Settings,
        output: BorrowedFd<'_>,
        kind: Kind,
    ) -> Result<Live, Error> {
        let probe = Probe::new().map_err(|error| Error::io(&settings.interface, error))?;
        let port = Port::new(&probe, output, kind)?;
        let ring = Ring::open(&probe, &settings)?;
        must_differ(&ring, &port)?;
        let now = Instant::now();
        let mut live = Live {
            shared: Arc::new(Shared::new().map_err(|error| Error::io(&settings.interface, error))?),
            settings,
            probe,
            ring,
            engine,
            port,
            slot: 0,
            counts: Counts::default(),
            interface: State::Up,
            looked: now,
            published: now,
            is_changed: true,
            records_since: None,
        };
        live.look();
        live.publish();
        Ok(live)
    }

    /// What other threads may read while one steps.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// The engine, between steps: where its state is saved and resumed.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Moves packets for up to `timeout`. Returns sooner when records wait, when a device's state
    /// changes, on [`Shared::wake`], and when a signal came.
    pub fn step(&mut self, timeout: Duration) -> Result<(), Error> {
        let result = self.run(Instant::now() + timeout);
        if self.is_changed || self.published.elapsed() >= LOOK {
            self.publish();
        }
        result
    }

    fn run(&mut self, deadline: Instant) -> Result<(), Error> {
        let states = self.states();
        loop {
            let mut now = Instant::now();
            // 1. All that is there.
            while now < deadline && self.states() == states && !self.records_are_due(now) {
                if !self.move_block() {
                    break;
                }
                now = Instant::now();
                if now - self.published >= PUBLISH {
                    self.publish();
                }
                if now - self.looked >= LOOK {
                    self.look();
                }
            }
            // 2. What time brings.
            if now < deadline {
                self.tick();
            }
            if now - self.looked >= LOOK {
                self.look();
            }
            if now >= deadline || self.states() != states || self.records_are_due(now) {
                return Ok(());
            }
            // 3. Sleep until there is more.
            if self.sleep(self.until(now, deadline))? {
                return Ok(());
            }
        }
    }

    /// Pushes the frames of the next block; false if the kernel has not handed one over.
    fn move_block(&mut self) -> bool {
        let Live {
            ring,
            engine,
            port,
            slot,
            counts,
            ..
        } = self;
        let Some(mut block) = ring.take() else {
            return false;
        };
        let mut walk = Walk::new(&block);
        while let Some(frame) = walk.next(&mut block) {
            counts.captured(&frame);
            forward(engine, port, *slot, &frame, &mut block);
            *slot += 1;
        }
        counts.damaged += u64::from(walk.damaged);
        self.is_changed = true;
        true
    }

    /// Tells the engine the time, where no packet did.
    fn tick(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // A block that is being filled is handed over within two of its timer's periods.
        let behind = Duration::from_millis(2 * u64::from(self.settings.block_timeout_ms));
        let now = now.saturating_sub(behind).as_nanos() as Nanos;
        let before = self.engine.stats().held;
        self.engine.advance(now, &mut Outlet(&mut self.port));
        self.is_changed |= before != self.engine.stats().held || self.engine.records_waiting() > 0;
    }

    /// Whether records have waited long enough.
    fn records_are_due(&mut self, now: Instant) -> bool {
        match self.engine.records_waiting() {
            0 => false,
            waiting if waiting >= RECORDS_MOST => true,
            _ => now - *self.records_since.get_or_insert(now) >= RECORDS_WAIT,
        }
    }

    /// How long nothing has to be done.
    fn until(&self, now: Instant, deadline: Instant) -> Duration {
        let mut wait = (deadline - now).min(LOOK.saturating_sub(now - self.looked));
        if self.engine.stats().held > 0 {
            wait = wait.min(HELD_TICK);
        }
        if let Some(since) = self.records_since {
            wait = wait.min(RECORDS_WAIT.saturating_sub(now - since));
        }
        wait
    }

    /// Sleeps; true when somebody woke us or a signal came.
    fn sleep(&mut self, wait: Duration) -> Result<bool, Error> {
        // Rounded up, so that a wait that has just not passed is not repeated as none.
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut fds = [
            PollFd::new(&self.ring, PollFlags::IN),
            PollFd::from_borrowed_fd(self.shared.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&wait)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(Error::io(&self.settings.interface, error.into())),
        }
        let (ring, wake) = (fds[0].revents(), fds[1].revents());
        if ring.contains(PollFlags::ERR) {
            self.ring.take_error();
            self.look();
        }
        Ok(wake.contains(PollFlags::IN) && self.shared.take_wake())
    }

    fn states(&self) -> (State, State) {
        (self.interface, self.port.state())
    }

    /// Looks at both devices.
    fn look(&mut self) {
        self.looked = Instant::now();
        if self.interface != State::Gone {
            self.interface = self.ring.state(&self.probe, &self.settings.interface);
        }
        self.port.look(&self.probe);
        self.counts
            .is_online(self.interface == State::Up, self.looked);
        self.shared.set_states(self.interface, self.port.state());
    }

    /// Opens the ring anew where its interface was deleted; false if there is none of that name yet.
    /// The engine keeps what it knows.
    pub fn reopen(&mut self) -> Result<bool, Error> {
        self.look();
        if self.interface != State::Gone {
            return Ok(true);
        }
        let ring = match Ring::open(&self.probe, &self.settings) {
            Ok(ring) => ring,
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        must_differ(&ring, &self.port)?;
        // What the old ring still has comes before what the new one will have.
        while self.move_block() {}
        self.count();
        self.ring = ring;
        self.counts.reopened += 1;
        self.interface = State::Up;
        self.look();
        self.publish();
        Ok(true)
    }

    /// Goes on with another way out; what was counted stays.
    pub fn set_output(&mut self, output: BorrowedFd<'_>, kind: Kind) -> Result<(), Error> {
        let port = Port::new(&self.probe, output, kind)?;
        must_differ(&self.ring, &port)?;
        self.port.replace(port);
        self.look();
        self.publish();
        Ok(())
    }

    /// Everything that waits leaves; connections stay.
    pub fn finish(&mut self) {
        self.engine.finish(&mut Outlet(&mut self.port));
        self.publish();
    }

    /// Closes up to `count` connections, whose records can then be taken; false when none are left.
    pub fn close_some(&mut self, count: usize) -> bool {
        let more = self.engine.close_some(count, &mut Outlet(&mut self.port));
        self.publish();
        more
    }

    /// The flow records since the last call.
    pub fn take_records(&mut self) -> Vec<u8> {
        self.records_since = None;
        self.engine.take_records()
    }

    /// Asks the kernel what it counted.
    fn count(&mut self) {
        if let Ok(counted) = self.ring.count() {
            self.counts.kernel(&counted);
        }
    }

    /// Lets others see how things are.
    pub fn publish(&mut self) {
        self.count();
        self.published = Instant::now();
        self.is_changed = false;
        let mut stats = self.engine.stats_json();
        stats.insert(
            "capture".into(),
            self.counts.to_json(
                &self.settings.interface,
                self.interface.name(),
                self.ring.bytes(),
                self.published,
            ),
        );
        stats.insert("output".into(), self.port.to_json());
        self.shared.set_states(self.interface, self.port.state());
        self.shared.set_stats(Value::Object(stats));
    }
}

/// One frame through the engine and out.
#[inline]
fn forward(engine: &mut Engine, port: &mut Port, slot: u64, frame: &Frame, block: &mut [u8]) {
    let meta = Meta {
        ts: frame.ts,
        orig_len: frame.wire_len,
        link: Link::Ethernet,
        checksum: if frame.is_partial {
            Checksum::Partial
        } else {
            Checksum::Whole
        },
        gso_size: frame.vnet.segment_size(),
    };
    let bytes = &mut block[frame.start..frame.end];
    let (start, end) = match engine.push(slot, &meta, bytes, &mut Outlet(port)) {
        Fate::Pass => (frame.start, frame.end),
        Fate::Rewritten { start, end, .. } => (frame.start + start, frame.start + end),
        Fate::Emitted | Fate::Gone | Fate::Held => return,
    };
    let vnet = Vnet::of(&meta, &block[start..end], frame.vnet);
    port.send_in_place(&mut block[..end], start, vnet);
}

/// What was sent to the interface that is captured would come back for ever.
fn must_differ(ring: &Ring, port: &Port) -> Result<(), Error> {
    if ring.index() != port.index() {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "packets cannot leave by {}: it is the interface that is captured",
        port.name()
    )))
}
