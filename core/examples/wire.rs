//! The parts of a measurement of the live path, one process each; `bench/live` puts them together.
//!
//! ```text
//! wire send INTERFACE SIZE PACKETS RATE    sends proxied connections: SIZE payload bytes, RATE a second
//! wire live CONFIG.json INTERFACE TAP MIB  what `peeltap run` does with packets, until its input ends
//! wire drain INTERFACE                     reads a ring as an IDS would, until its input ends
//! ```
//!
//! Each prints one JSON object when it ends: what it did and the CPU time that it took, in seconds.

use std::error::Error;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peeltap_core::engine::{Config, Engine};
use peeltap_core::io::block::Walk;
use peeltap_core::io::netdev::Probe;
use peeltap_core::io::port::Kind;
use peeltap_core::io::ring::{Ring, Settings};
use peeltap_core::live::Live;
use peeltap_core::wire::checksum::{sum, Sum};
use serde_json::{json, Value};

type Outcome = Result<Value, Box<dyn Error>>;

const USAGE: &str = "usage: wire send|live|drain ...";
const CONNECTIONS: usize = 1000;
const BATCH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut said = match arguments[..] {
        ["send", interface, size, packets, rate] => {
            send(interface, size.parse()?, packets.parse()?, rate.parse()?)?
        }
        ["live", config, interface, tap, mib] => live(config, interface, tap, mib.parse()?)?,
        ["drain", interface] => drain(interface)?,
        _ => return Err(USAGE.into()),
    };
    said["cpu"] = cpu_seconds().into();
    println!("{said}");
    Ok(())
}

fn cpu_seconds() -> f64 {
    // SAFETY: an rusage is plain old data, and the kernel writes no more than one.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

/// Set when standard input ends.
fn end_of_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    ended
}

fn settings(interface: &str) -> Settings {
    Settings {
        interface: interface.to_owned(),
        bytes: 64 << 20,
        block_timeout_ms: 20,
        promiscuous: true,
        filter: Vec::new(),
        fanout: None,
    }
}

fn live(config: &str, interface: &str, tap: &str, mib: usize) -> Outcome {
    let engine = Engine::new(Config::from_json(&std::fs::read(config)?)?);
    let tap = open_tap(tap)?;
    let settings = Settings {
        bytes: mib << 20,
        ..settings(interface)
    };
    let mut live = Live::new(engine, settings, tap.as_fd(), Kind::Tap)?;
    let ended = end_of_input();
    println!("ready");
    while !ended.load(Ordering::Relaxed) {
        live.step(Duration::from_millis(200))?;
        live.take_records();
    }
    live.publish();
    let stats = live.shared().stats();
    Ok(json!({"packets": stats["packets"], "capture": stats["capture"], "output": stats["output"]}))
}

/// A tap as Peeltap uses it; persistent ones are taken over.
fn open_tap(name: &str) -> Result<OwnedFd, Box<dyn Error>> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: an ifreq is plain old data, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags =
        (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the argument is an ifreq, which the kernel reads and writes within its size.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(file.into())
}

fn drain(interface: &str) -> Outcome {
    let mut ring = Ring::open(&Probe::new()?, &settings(interface))?;
    let ended = end_of_input();
    println!("ready");
    let (mut packets, mut bytes) = (0u64, 0u64);
    let wait = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };
    while !ended.load(Ordering::Relaxed) {
        while let Some(mut block) = ring.take() {
            let mut walk = Walk::new(&block);
            while let Some(frame) = walk.next(&mut block) {
                packets += 1;
                bytes += (frame.end - frame.start) as u64;
            }
        }
        let mut fds = [rustix::event::PollFd::new(
            &ring,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, Some(&wait))?;
    }
    let dropped = ring.count()?.dropped;
    Ok(json!({"packets": packets, "bytes": bytes, "dropped": dropped}))
}

/// Ethernet, IPv4 and TCP from the leg's client to its server.
fn frame(port: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend((40 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 172, 16, 23, 1, 172, 16, 23, 2]);
    let field = sum(&frame[14..34]).field();
    frame[24..26].copy_from_slice(&field.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend(9000u16.to_be_bytes());
    frame.extend(seq.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(payload);
    set_checksum(&mut frame);
    frame
}

fn set_checksum(frame: &mut [u8]) {
    frame[50..52].fill(0);
    let pseudo = sum(&frame[26..34])
        .add16(6)
        .add16((frame.len() - 34) as u16);
    let field = (pseudo + sum(&frame[34..])).field();
    frame[50..52].copy_from_slice(&field.to_be_bytes());
}

fn send(interface: &str, size: usize, packets: usize, rate: f64) -> Outcome {
    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 192.168.110.2 46421 80\r\n";
    const SYN: u8 = 2;
    const ACK: u8 = 0x10;
    let socket = packet_socket(interface)?;
    let mut opening = Vec::new();
    let mut data = Vec::new();
    for at in 0..CONNECTIONS {
        let port = 20_000 + at as u16;
        opening.push(frame(port, 0, SYN, &[]));
        opening.push(frame(port, 1, ACK, HEADER));
        data.push(frame(port, 1 + HEADER.len() as u32, ACK, &vec![b'x'; size]));
    }
    for frames in opening.chunks(BATCH) {
        send_all(&socket, frames.iter())?;
    }
    let started = Instant::now();
    let mut sent = 0;
    while sent < packets {
        let from = sent % CONNECTIONS;
        let until = CONNECTIONS.min(from + BATCH);
        send_all(&socket, data[from..until].iter())?;
        for frame in &mut data[from..until] {
            advance(frame, size as u32);
        }
        sent += until - from;
        // Asleep until the next batch is due, or the time would be counted as work.
        let due = Duration::from_secs_f64(sent as f64 / rate);
        let early = due.saturating_sub(started.elapsed());
        if early > Duration::from_millis(1) {
            std::thread::sleep(early);
        }
    }
    Ok(json!({"packets": sent + opening.len(), "seconds": started.elapsed().as_secs_f64()}))
}

/// The connection's next segment, its checksum right.
fn advance(frame: &mut [u8], size: u32) {
    let old = u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]);
    let new = old.wrapping_add(size);
    frame[38..42].copy_from_slice(&new.to_be_bytes());
    let field = u16::from_be_bytes([frame[50], frame[51]]);
    let delta = Sum::ZERO.sub32(old).add32(new);
    let field = peeltap_core::wire::checksum::update(field, delta);
    frame[50..52].copy_from_slice(&field.to_be_bytes());
}

fn packet_socket(interface: &str) -> Result<OwnedFd, Box<dyn Error>> {
    let index = Probe::new()?.device(interface)?.index;
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a sockaddr_ll is plain old data, for which all zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is of the size that is passed with it, and the kernel only reads it.
    if unsafe { libc::bind(fd, (&raw const address).cast(), len) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // The cost of the sender's own queue would only stand in the way.
    let (level, bypass, one) = (
        libc::SOL_PACKET,
        libc::PACKET_QDISC_BYPASS,
        1 as libc::c_int,
    );
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is of the size that is passed with it, and the kernel only reads it.
    if unsafe { libc::setsockopt(fd, level, bypass, (&raw const one).cast(), len) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(socket)
}

fn send_all<'a>(
    socket: &OwnedFd,
    frames: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<(), Box<dyn Error>> {
    let mut parts: Vec<_> = frames
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<_> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: an mmsghdr is plain old data, for which all zeros are a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let mut done = 0;
    while done < messages.len() {
        let rest = &mut messages[done..];
        // SAFETY: the messages and their parts live until the call returns, and are only read.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
        if sent < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        done += sent as usize;
    }
    Ok(())
}
