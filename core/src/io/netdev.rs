//! What the kernel says of a network device: whether it is there, up, and what it is.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::Error;

/// How a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It moves packets.
    #[default]
    Up,
    /// It is there, and switched off.
    Down,
    /// It is not there any more.
    Gone,
}

impl State {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Down => "down",
            State::Gone => "gone",
        }
    }
}

/// A device as it was when asked.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Its number, another one each time it is made anew.
    pub index: i32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is the loopback device, which shows each packet going out and coming in.
    pub is_loopback: bool,
    /// Whether its frames begin with an Ethernet header.
    pub is_ethernet: bool,
}

/// Asks the kernel, always in the network namespace in which it was made.
#[derive(Debug)]
pub struct Probe(OwnedFd);

/// The answer of a system call that gives -1 for an error.
pub(super) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

impl Probe {
    /// A probe of the calling thread's network namespace.
    pub fn new() -> io::Result<Probe> {
        // SAFETY: socket(2) takes no pointers.
        let fd = checked(unsafe {
            libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Probe(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn ask(&self, request: libc::Ioctl, name: &str) -> io::Result<libc::ifreq> {
        ask(self.0.as_fd(), request, name)
    }

    /// The device of that name; ENODEV if there is none.
    pub fn device(&self, name: &str) -> io::Result<Device> {
        let index = self.ask(libc::SIOCGIFINDEX as libc::Ioctl, name)?;
        let flags = self.ask(libc::SIOCGIFFLAGS as libc::Ioctl, name)?;
        let kind = self.ask(libc::SIOCGIFHWADDR as libc::Ioctl, name)?;
        // SAFETY: each request succeeded and so filled in the member that it is for.
        let (index, flags, kind) = unsafe {
            (
                index.ifr_ifru.ifru_ifindex,
                i32::from(flags.ifr_ifru.ifru_flags),
                kind.ifr_ifru.ifru_hwaddr.sa_family,
            )
        };
        Ok(Device {
            index,
            is_up: flags & libc::IFF_UP != 0,
            is_loopback: flags & libc::IFF_LOOPBACK != 0,
            is_ethernet: kind == libc::ARPHRD_ETHER || kind == libc::ARPHRD_LOOPBACK,
        })
    }

    /// The state of the device of that name, if it is still the one with that number.
    pub fn state(&self, name: &str, index: i32) -> State {
        match self.device(name) {
            Ok(device) if device.index != index => State::Gone,
            Ok(device) if device.is_up => State::Up,
            Ok(_) => State::Down,
            Err(_) => State::Gone,
        }
    }

    /// The name of the device with that number.
    pub fn name(&self, index: i32) -> io::Result<String> {
        let mut request = empty();
        request.ifr_ifru.ifru_ifindex = index;
        // SAFETY: the request is an ifreq, which the kernel reads and writes within its size.
        checked(unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SIOCGIFNAME as libc::Ioctl,
                &mut request,
            )
        })?;
        Ok(name_in(&request))
    }
}

fn empty() -> libc::ifreq {
    // SAFETY: an ifreq is plain old data, for which all zeros are a value.
    unsafe { MaybeUninit::<libc::ifreq>::zeroed().assume_init() }
}

fn name_in(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> = request.ifr_name.iter().map(|byte| *byte as u8).collect();
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// One question about the device `name`.
fn ask(fd: BorrowedFd<'_>, request: libc::Ioctl, name: &str) -> io::Result<libc::ifreq> {
    let mut answer = empty();
    // One byte stays for the end of the string.
    if name.is_empty() || name.len() >= answer.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in answer.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the argument is an ifreq, which the kernel reads and writes within its size.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut answer) })?;
    Ok(answer)
}

/// The name of the device behind a tap's descriptor; EBADFD where it was deleted.
pub fn tap_name(tap: BorrowedFd<'_>) -> io::Result<String> {
    let mut request = empty();
    // SAFETY: TUNGETIFF writes an ifreq, whatever its number says of the size.
    checked(unsafe {
        libc::ioctl(
            tap.as_raw_fd(),
            libc::TUNGETIFF as libc::Ioctl,
            &mut request,
        )
    })?;
    Ok(name_in(&request))
}

/// The device that a packet socket is bound to; 0 or less if to none.
pub fn bound_to(socket: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: a sockaddr_ll is plain old data, for which all zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is of the size that is passed with it.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &mut len) })?;
    if i32::from(address.sll_family) != libc::AF_PACKET {
        return Err(io::Error::from_raw_os_error(libc::ENOTSOCK));
    }
    Ok(address.sll_ifindex)
}

/// Refuses what Peeltap cannot capture on.
pub fn must_be_ethernet(name: &str, device: &Device) -> Result<(), Error> {
    if device.is_ethernet {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "{name} is no Ethernet interface: its frames cannot be put on a tap"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_known() {
        let probe = Probe::new().unwrap();
        let device = probe.device("lo").unwrap();
        assert!(device.is_loopback && device.is_ethernet);
        assert_eq!(probe.name(device.index).unwrap(), "lo");
        assert_eq!(probe.state("lo", device.index + 1), State::Gone);
    }

    #[test]
    fn what_is_absent_or_no_name_is_no_device() {
        let probe = Probe::new().unwrap();
        for name in ["nonesuch0", "", "a-name-of-more-than-15-bytes", "lo\0"] {
            let error = probe.device(name).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name:?}");
            assert_eq!(probe.state(name, 1), State::Gone);
        }
    }
}
