//! Where finished packets leave: a tap's descriptor, or a packet socket bound to an interface. Both take
//! one frame a write, a virtio-net header in front of it.
//!
//! A write that finds no room is repeated a bounded number of times, while nothing else is; then the
//! frame is dropped and counted. So a slow reader costs frames that are named, never the capture.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde_json::{json, Map, Value};

use super::netdev::{self, checked, Probe, State};
use super::ring;
use super::vnet::{self, Vnet};
use super::Error;

/// How often a write that finds no room is repeated, and the wait before each time.
const RETRIES: u32 = 8;
const RETRY_WAIT: Duration = Duration::from_micros(250);

/// What takes the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tap, of IFF_NO_PI and IFF_VNET_HDR.
    Tap,
    /// An AF_PACKET socket of SOCK_RAW with PACKET_VNET_HDR, bound to an interface.
    Packet,
}

/// Why a frame did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Dropped {
    /// It found no room, for as long as we waited.
    Full,
    /// The device is switched off.
    Down,
    /// The device is not there any more.
    Gone,
    /// The device does not take frames so long.
    TooLong,
    /// The kernel does not take it: too short to be a frame, or headers that lie.
    Refused,
}

const REASONS: [&str; 5] = ["full", "down", "gone", "too_long", "refused"];

/// The way out.
#[derive(Debug)]
pub struct Port {
    fd: OwnedFd,
    kind: Kind,
    /// The device's name and number.
    name: String,
    index: i32,
    state: State,
    /// Whether the last frame found no room: the next ones then do not wait.
    is_full: bool,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    frames: u64,
    bytes: u64,
    retried: u64,
    plain: u64,
    dropped: [u64; REASONS.len()],
}

impl Port {
    /// Takes a copy of the descriptor, and makes it one that never blocks.
    pub fn new(probe: &Probe, fd: BorrowedFd<'_>, kind: Kind) -> Result<Port, Error> {
        let failed = |error| Error::io("output", error);
        let fd = fd.try_clone_to_owned().map_err(failed)?;
        let (name, index) = device(probe, fd.as_fd(), kind).map_err(failed)?;
        if kind == Kind::Packet {
            ring::set(&fd, libc::SOL_SOCKET, libc::SO_MARK, &ring::MARK).map_err(failed)?;
        }
        // SAFETY: fcntl(2) with these commands takes no pointers.
        let flags =
            checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }).map_err(failed)?;
        // SAFETY: as above.
        checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
            .map_err(failed)?;
        Ok(Port {
            fd,
            kind,
            name,
            index,
            state: State::Up,
            is_full: false,
            counts: Counts::default(),
        })
    }

    /// Goes on with another descriptor; what was counted stays.
    pub fn replace(&mut self, other: Port) {
        let counts = self.counts;
        *self = Port { counts, ..other };
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device's number.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.index
    }

    /// How the device is, as far as is known.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Looks at the device: an idle service would not learn of its end otherwise.
    pub fn look(&mut self, probe: &Probe) {
        self.state = match device(probe, self.fd.as_fd(), self.kind) {
            Ok((name, index)) if index == self.index => {
                // It may have another name now.
                self.name = name;
                probe.state(&self.name, index)
            }
            _ => State::Gone,
        };
    }

    /// Sends a frame before which there is room for its virtio-net header: `buffer[at..]` is the frame.
    #[inline]
    pub fn send_in_place(&mut self, buffer: &mut [u8], at: usize, vnet: Vnet) {
        let from = at - vnet::LEN;
        buffer[from..at].copy_from_slice(&vnet.emit());
        let bytes = &buffer[from..];
        self.send(bytes.len() - vnet::LEN, vnet, |fd, is_plain| {
            if is_plain {
                return write_parts(fd, Vnet::NONE, &bytes[vnet::LEN..]);
            }
            // SAFETY: the kernel reads so many bytes from the slice.
            let wrote = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            if wrote < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }

    /// Sends a frame from anywhere.
    pub fn send_copy(&mut self, frame: &[u8], vnet: Vnet) {
        self.send(frame.len(), vnet, |fd, is_plain| {
            write_parts(fd, if is_plain { Vnet::NONE } else { vnet }, frame)
        });
    }

    #[inline]
    fn send(
        &mut self,
        len: usize,
        vnet: Vnet,
        write: impl Fn(BorrowedFd<'_>, bool) -> io::Result<()>,
    ) {
        if self.state == State::Gone {
            // Its descriptor stays dead.
            self.drop(Dropped::Gone);
            return;
        }
        match write(self.fd.as_fd(), false) {
            Ok(()) => {
                self.is_full = false;
                self.state = State::Up;
                self.counts.frames += 1;
                self.counts.bytes += len as u64;
            }
            Err(error) => self.trouble(error, len, vnet, write),
        }
    }

    #[cold]
    fn trouble(
        &mut self,
        mut error: io::Error,
        len: usize,
        vnet: Vnet,
        write: impl Fn(BorrowedFd<'_>, bool) -> io::Result<()>,
    ) {
        let mut retries = if self.is_full { 0 } else { RETRIES };
        let mut is_plain = false;
        loop {
            let reason = match error.raw_os_error() {
                Some(libc::EINTR) => None,
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) if retries == 0 => {
                    self.is_full = true;
                    Some(Dropped::Full)
                }
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    retries -= 1;
                    self.counts.retried += 1;
                    std::thread::sleep(RETRY_WAIT);
                    None
                }
                // A tap says EIO while it is down, and EBADFD once it is deleted.
                Some(libc::ENETDOWN | libc::EIO) => {
                    self.state = State::Down;
                    Some(Dropped::Down)
                }
                Some(libc::EBADFD | libc::ENXIO | libc::ENODEV) => {
                    self.state = State::Gone;
                    Some(Dropped::Gone)
                }
                Some(libc::EMSGSIZE) => Some(Dropped::TooLong),
                // Offloads of a frame whose headers lie: it leaves without them, as it is.
                _ if !is_plain && !vnet.is_plain() => {
                    is_plain = true;
                    None
                }
                _ => Some(Dropped::Refused),
            };
            if let Some(reason) = reason {
                self.drop(reason);
                return;
            }
            match write(self.fd.as_fd(), is_plain) {
                Ok(()) => {
                    self.is_full = false;
                    self.counts.plain += u64::from(is_plain);
                    self.counts.frames += 1;
                    self.counts.bytes += len as u64;
                    return;
                }
                Err(again) => error = again,
            }
        }
    }

    fn drop(&mut self, reason: Dropped) {
        self.counts.dropped[reason as usize] += 1;
    }

    /// The counters as JSON; reasons with a count of 0 are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let dropped: Map<_, _> = REASONS
            .iter()
            .zip(self.counts.dropped)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| ((*name).to_owned(), count.into()))
            .collect();
        json!({
            "name": self.name,
            "state": self.state.name(),
            "frames": self.counts.frames,
            "bytes": self.counts.bytes,
            "retried": self.counts.retried,
            "without_offloads": self.counts.plain,
            "dropped": dropped,
        })
    }
}

/// The name and number of the device behind a descriptor.
fn device(probe: &Probe, fd: BorrowedFd<'_>, kind: Kind) -> io::Result<(String, i32)> {
    match kind {
        Kind::Tap => {
            let name = netdev::tap_name(fd)?;
            let index = probe.device(&name)?.index;
            Ok((name, index))
        }
        Kind::Packet => {
            let index = netdev::bound_to(fd)?;
            if index <= 0 {
                return Err(io::Error::from_raw_os_error(libc::ENXIO));
            }
            Ok((probe.name(index)?, index))
        }
    }
}

fn write_parts(fd: BorrowedFd<'_>, vnet: Vnet, frame: &[u8]) -> io::Result<()> {
    let head = vnet.emit();
    let parts = [IoSlice::new(&head), IoSlice::new(frame)];
    // SAFETY: IoSlice is an iovec, and there are so many of them.
    let wrote = unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr().cast(), parts.len() as i32) };
    if wrote < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
