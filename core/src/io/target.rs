//! The file or pipe that is written.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use super::Error;

/// How far ahead of the writing position blocks are reserved. With the blocks in place a buffered
/// write to ext4 skips the reservation of each of them: a quarter less CPU. On tmpfs it costs more;
/// other file systems were not measured.
const RESERVE: u64 = 64 << 20;

/// What `statfs` calls ext2, ext3 and ext4.
const EXT_MAGIC: u64 = 0xef53;

/// Where packets go. Dropping it gives back what was reserved and not used.
#[derive(Debug)]
pub struct Target {
    name: String,
    file: File,
    position: u64,
    reserved: u64,
    /// The most that is worth reserving: the inputs' size. 0 where nothing is gained by it.
    expected: u64,
}

impl Target {
    /// Opens `name` for writing, `-` for standard output. A file that exists is replaced, unless it
    /// is one of `inputs`. `expected` is about how many bytes will come.
    pub fn create(name: &str, inputs: &[(&str, &File)], expected: u64) -> Result<Target, Error> {
        let failed = |source| Error::io(name, source);
        if name == "-" {
            let descriptor = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
            let name = "standard output".to_owned();
            return Ok(Target {
                name,
                file: descriptor.into(),
                position: 0,
                reserved: 0,
                expected: 0,
            });
        }
        // Emptied only below, when it is known not to be an input.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(Path::new(name))
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        for (input, other) in inputs {
            let same = other
                .metadata()
                .is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()));
            // Reading and writing /dev/null or one terminal harms nobody.
            if same && !metadata.file_type().is_char_device() {
                return Err(Error::Unfit(format!(
                    "{name}: the output is the same file as the input {input}; give the output another name"
                )));
            }
        }
        let is_file = metadata.is_file();
        if is_file {
            file.set_len(0).map_err(failed)?;
        }
        let gains = is_file
            && rustix::fs::fstatfs(&file).is_ok_and(|system| system.f_type as u64 == EXT_MAGIC);
        let expected = if gains { expected } else { 0 };
        Ok(Target {
            name: name.to_owned(),
            file,
            position: 0,
            reserved: 0,
            expected,
        })
    }

    /// The name to show to a person.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn reserve(&mut self, bytes: u64) {
        if self.position + bytes <= self.reserved || self.reserved >= self.expected {
            return;
        }
        let length = RESERVE.min(self.expected - self.reserved);
        // KEEP_SIZE: whoever reads along, or finds the file after a crash, sees only what was written.
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.reserved, length) {
            Ok(()) => self.reserved += length,
            // No such call on this file system, or no room ahead: the writes themselves will tell.
            Err(_) => self.expected = 0,
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.reserve(slices.iter().map(|slice| slice.len() as u64).sum());
        loop {
            match self.file.write_vectored(slices) {
                Ok(written) => {
                    self.position += written as u64;
                    return Ok(written);
                }
                // A pipe that somebody made non-blocking: wait, as a blocking one would.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut poll = [rustix::event::PollFd::new(
                        &self.file,
                        rustix::event::PollFlags::OUT,
                    )];
                    rustix::event::poll(&mut poll, None)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.reserved > self.position {
            // Best effort: blocks beyond the end cost room, not correctness.
            let _ = self.file.set_len(self.position);
        }
    }
}
