//! The capture ring: an AF_PACKET socket that shares its buffer with the kernel (packet(7),
//! Documentation/networking/packet_mmap.rst).
//!
//! TPACKET_V3: the kernel fills blocks of many frames and hands over each when it is full, or when its
//! time is up; we hand it back when we are done with it. One wake-up serves a whole block.

use std::io;
use std::mem::{size_of, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::block;
use super::filter::{Filter, Instruction};
use super::netdev::{self, checked, Device, Probe, State};
use super::Error;

/// Bytes of a block: it has to hold the largest offloaded frame, and that several times, for what is
/// left at its end is lost to the ring.
const BLOCK: usize = 1 << 20;
/// The same of a ring that would have too few of those.
const SMALL_BLOCK: usize = 256 << 10;
/// The fewest blocks with which the kernel can fill one while we read another.
const LEAST_BLOCKS: usize = 4;
/// The largest ring; the kernel counts its bytes in 32 bits.
const MOST_BYTES: usize = 1 << 31;
/// What the kernel checks and TPACKET_V3 does not use otherwise.
const FRAME_SIZE: usize = 2048;

const STATUS_KERNEL: u32 = 0;
const STATUS_USER: u32 = 1;

/// What to open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interface's name.
    pub interface: String,
    /// Bytes of the ring.
    pub bytes: usize,
    /// After how many milliseconds a block that is not full is handed over.
    pub block_timeout_ms: u32,
    /// Whether to see frames for others; what crosses a bridge is for others.
    pub promiscuous: bool,
    /// What the kernel keeps; empty keeps all.
    pub filter: Vec<Instruction>,
    /// The group of sockets that share the interface's flows: its id and how many there are.
    pub fanout: Option<(u16, u16)>,
}

impl Settings {
    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let unfit = |text: String| Err(Error::Unfit(text));
        if !(LEAST_BLOCKS * SMALL_BLOCK..=MOST_BYTES).contains(&self.bytes) {
            return unfit(format!(
                "ring_bytes: {} is not in {}..={MOST_BYTES}",
                self.bytes,
                LEAST_BLOCKS * SMALL_BLOCK
            ));
        }
        if !(1..=1000).contains(&self.block_timeout_ms) {
            return unfit(format!(
                "block_timeout_ms: {} is not in 1..=1000",
                self.block_timeout_ms
            ));
        }
        if self.fanout.is_some_and(|(_, workers)| workers == 0) {
            return unfit("fanout: at least one worker is needed".to_owned());
        }
        if !self.filter.is_empty() {
            // The kernel's own answer to a wrong program is EINVAL; ours says what is wrong.
            Filter::new(&self.filter).map_err(Error::Unfit)?;
            // The kernel takes as many as we do (BPF_MAXINSNS), and some are our own.
            if Filter::new(&program(&self.filter)).is_err() {
                return unfit("filter: it is too long".to_owned());
            }
        }
        Ok(())
    }

    fn block_size(&self) -> usize {
        if self.bytes >= 16 * BLOCK {
            BLOCK
        } else {
            SMALL_BLOCK
        }
    }
}

/// What the kernel counted since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Packets that passed the filter.
    pub received: u64,
    /// Those of them that found no room.
    pub dropped: u64,
    /// How often the ring was full.
    pub freezes: u64,
}

/// An open ring.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    /// The blocks, one behind the other.
    map: NonNull<u8>,
    block_size: usize,
    blocks: usize,
    /// The block that is handed over next.
    next: usize,
    index: i32,
}

// SAFETY: the mapping belongs to the ring alone and has no tie to a thread.
unsafe impl Send for Ring {}

pub(super) fn set<T>(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the value is of the size that is passed with it, and the kernel only reads it.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

fn set_packet<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, option, value)
}

/// Attaches a filter; the socket takes its own copy.
fn attach(socket: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<_> = program
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// A program that keeps nothing.
const NOTHING: &[Instruction] = &[(0x06, 0, 0, 0)];
/// One that keeps everything.
const EVERYTHING: &[Instruction] = &[(0x06, 0, 0, u32::MAX)];

/// The mark of the packets that Peeltap sends by a socket ("peel"): by whatever way they come back to
/// the interface on this host, they are not captured again.
pub const MARK: u32 = u32::from_be_bytes(*b"peel");

/// Drops packets of that mark, which classic BPF reads at an offset of its own (SKF_AD_OFF +
/// SKF_AD_MARK in linux/filter.h).
const UNMARKED: &[Instruction] = &[
    (0x20, 0, 0, 0xffff_f000 + 20),
    (0x15, 0, 1, MARK),
    (0x06, 0, 0, 0),
];

/// What the kernel runs: our own condition, then the operator's.
fn program(filter: &[Instruction]) -> Vec<Instruction> {
    let own = if filter.is_empty() {
        EVERYTHING
    } else {
        filter
    };
    [UNMARKED, own].concat()
}

impl Ring {
    /// Opens a ring on the interface of that name; ENODEV if it is absent.
    pub fn open(probe: &Probe, settings: &Settings) -> Result<Ring, Error> {
        settings.check()?;
        let failed = |error| Error::io(&settings.interface, error);
        let device = probe.device(&settings.interface).map_err(failed)?;
        netdev::must_be_ethernet(&settings.interface, &device)?;
        Ring::build(&device, settings).map_err(failed)
    }

    fn build(device: &Device, settings: &Settings) -> io::Result<Ring> {
        // 1. Of protocol 0, so that nothing comes in before all is set.
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket(2) takes no pointers.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        set_packet(
            &socket,
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V3 as i32),
        )?;
        set_packet(&socket, libc::PACKET_VNET_HDR, &1i32)?;
        if device.is_loopback {
            set_packet(&socket, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        }

        // 2. The ring.
        let block_size = settings.block_size();
        let blocks = settings.bytes / block_size;
        let request = libc::tpacket_req3 {
            tp_block_size: block_size as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: FRAME_SIZE as u32,
            tp_frame_nr: (blocks * (block_size / FRAME_SIZE)) as u32,
            tp_retire_blk_tov: settings.block_timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set_packet(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of the socket's ring, at an address that the kernel chooses.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * block_size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                0,
            )
        };
        let map = match NonNull::new(map.cast::<u8>()) {
            Some(map) if map.as_ptr().cast() != libc::MAP_FAILED => map,
            _ => return Err(io::Error::last_os_error()),
        };
        let ring = Ring {
            socket,
            map,
            block_size,
            blocks,
            next: 0,
            index: device.index,
        };

        // 3. The interface. While the group is joined nothing is kept: until then this socket would
        //    see the flows of the others too.
        let socket = &ring.socket;
        let filter = program(&settings.filter);
        attach(
            socket,
            if settings.fanout.is_some() {
                NOTHING
            } else {
                &filter
            },
        )?;
        // SAFETY: a sockaddr_ll is plain old data, for which all zeros are a value.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = device.index;
        // SAFETY: the address is of the size that is passed with it, and the kernel only reads it.
        checked(unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        if settings.promiscuous {
            let request = libc::packet_mreq {
                mr_ifindex: device.index,
                mr_type: libc::PACKET_MR_PROMISC as u16,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            set_packet(socket, libc::PACKET_ADD_MEMBERSHIP, &request)?;
        }
        if let Some((group, _)) = settings.fanout {
            // By the flow's symmetric hash, so that both directions meet; IPv4 fragments are put
            // together first, or they would be told apart from their flow. No rollover: a flow must not
            // go to another worker because its own is busy.
            let how = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG;
            // A group belongs to one device. When that is made anew, the other workers' old rings may
            // still hold the old group: each device has a number of its own.
            let group = group.wrapping_add(ring.index as u16);
            set_packet(socket, libc::PACKET_FANOUT, &(u32::from(group) | how << 16))?;
            attach(socket, &filter)?;
        }
        Ok(ring)
    }

    /// The ring's size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks * self.block_size
    }

    /// The number of the interface that the ring is open on.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.index
    }

    /// How the interface is now. A deleted interface never comes back to this ring.
    pub fn state(&self, probe: &Probe, name: &str) -> State {
        match netdev::bound_to(self.socket.as_fd()) {
            Ok(index) if index == self.index => probe.state(name, self.index),
            _ => State::Gone,
        }
    }

    fn block(&self, at: usize) -> NonNull<u8> {
        debug_assert!(at < self.blocks);
        // SAFETY: `at` counts blocks of the mapping.
        unsafe { self.map.add(at * self.block_size) }
    }

    /// The next block, if the kernel has handed it over.
    #[inline]
    pub fn take(&mut self) -> Option<Block<'_>> {
        let start = self.block(self.next);
        // SAFETY: the status lies within the block, aligned, and both sides access it atomically.
        let status = unsafe { AtomicU32::from_ptr(start.as_ptr().add(block::STATUS).cast()) };
        // Acquire: what the kernel wrote before it handed the block over is seen.
        if status.load(Ordering::Acquire) & STATUS_USER == 0 {
            return None;
        }
        self.next = (self.next + 1) % self.blocks;
        Some(Block {
            start,
            len: self.block_size,
            ring: std::marker::PhantomData,
        })
    }

    /// What the kernel counted since it was last asked.
    pub fn count(&self) -> io::Result<Counted> {
        // SAFETY: tpacket_stats_v3 is plain old data, for which all zeros are a value.
        let mut stats: libc::tpacket_stats_v3 = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut len = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the value is of the size that is passed with it.
        checked(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &mut len,
            )
        })?;
        Ok(Counted {
            received: u64::from(stats.tp_packets),
            dropped: u64::from(stats.tp_drops),
            freezes: u64::from(stats.tp_freeze_q_cnt),
        })
    }

    /// Takes the error that the socket reports, such as ENETDOWN; it would wake every poll otherwise.
    pub fn take_error(&self) -> Option<io::Error> {
        let mut error: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value is of the size that is passed with it.
        checked(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &mut len,
            )
        })
        .ok()?;
        (error != 0).then(|| io::Error::from_raw_os_error(error))
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no block is lent any more: blocks borrow the ring.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.bytes()) };
    }
}

/// A block that is ours until it is dropped.
#[derive(Debug)]
pub struct Block<'a> {
    start: NonNull<u8>,
    len: usize,
    ring: std::marker::PhantomData<&'a mut Ring>,
}

impl Deref for Block<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the block lies in the mapping, and the kernel leaves it alone until it is given back.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Block<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and the ring lends a block once.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // SAFETY: the status lies within the block, aligned, and both sides access it atomically.
        let status = unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(block::STATUS).cast()) };
        // Release: our last access happens before the kernel's first.
        status.store(STATUS_KERNEL, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            interface: "lo".to_owned(),
            bytes: 64 << 20,
            block_timeout_ms: 20,
            promiscuous: true,
            filter: Vec::new(),
            fanout: None,
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        type Edit = fn(&mut Settings);
        let with = |edit: Edit| {
            let mut settings = settings();
            edit(&mut settings);
            settings.check().err().map(|error| error.to_string())
        };
        assert_eq!(with(|_| ()), None);
        let table: [(Edit, &str); 6] = [
            (
                |s| s.bytes = 4096,
                "ring_bytes: 4096 is not in 1048576..=2147483648",
            ),
            (|s| s.bytes = usize::MAX, "ring_bytes: "),
            (
                |s| s.block_timeout_ms = 0,
                "block_timeout_ms: 0 is not in 1..=1000",
            ),
            (|s| s.fanout = Some((1, 0)), "fanout: "),
            (
                |s| s.filter = vec![(0xffff, 0, 0, 0)],
                "filter instruction 0",
            ),
            (
                |s| s.filter = vec![(6, 0, 0, 0); 4096],
                "filter: it is too long",
            ),
        ];
        for (edit, wanted) in table {
            let said = with(edit).unwrap_or_default();
            assert!(
                said.starts_with(wanted),
                "{said:?} should begin with {wanted:?}"
            );
        }
    }
}
