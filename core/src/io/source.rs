//! A file or pipe read in large pieces; the piece is the reader's window.

use std::fs::File;
use std::io::{self, Read};

use super::chunks::CHUNK;

/// Bytes of a capture: a window on the part that is being read.
///
/// ```text
/// buffer  [ consumed | pos .. filled: the window | room ]
/// ```
pub struct Source {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    pos: usize,
    filled: usize,
    /// Where `buffer[0]` stands in the file.
    base: u64,
    ended: bool,
    is_stream: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

/// Waits where somebody made the descriptor non-blocking, as a shell may do with standard input.
struct Patient(File);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut poll = [rustix::event::PollFd::new(
                        &self.0,
                        rustix::event::PollFlags::IN,
                    )];
                    rustix::event::poll(&mut poll, None)?;
                }
                result => return result,
            }
        }
    }
}

impl Source {
    /// Reads `input`. A stream gives what it has at the time; a file gives all that is asked for.
    pub fn new(input: Box<dyn Read + Send>, is_stream: bool) -> Source {
        Source {
            input,
            buffer: vec![0; CHUNK],
            pos: 0,
            filled: 0,
            base: 0,
            ended: false,
            is_stream,
        }
    }

    /// Opens a regular file or anything else that reads like one.
    pub fn from_file(file: File) -> Source {
        let is_stream = !file.metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_stream {
            // Best effort: a longer read-ahead.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        }
        Source::new(Box::new(Patient(file)), is_stream)
    }

    /// Whether a read may wait for somebody else to write.
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// What has been read and not consumed.
    #[inline]
    pub fn window(&self) -> &[u8] {
        &self.buffer[self.pos..self.filled]
    }

    /// The whole buffer, the window's bounds in it to be had from [`Source::bounds`].
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Where the window begins and ends in the buffer.
    #[inline]
    pub fn bounds(&self) -> (usize, usize) {
        (self.pos, self.filled)
    }

    /// Where the window begins in the file.
    pub fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// How many bytes have been read.
    pub fn bytes_read(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Moves the window's beginning forward.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        self.pos += bytes;
        debug_assert!(self.pos <= self.filled);
    }

    /// Makes the window at least `bytes` long; false where the input ends before.
    ///
    /// May move the window within the buffer. The buffer grows only as bytes really come, so that a
    /// length that lies costs no memory.
    pub fn ensure(&mut self, bytes: usize) -> io::Result<bool> {
        while self.filled - self.pos < bytes {
            if self.ended {
                return Ok(false);
            }
            self.fill(bytes)?;
        }
        Ok(true)
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.buffer.len() - self.pos < wanted && self.pos > 0 {
            self.buffer.copy_within(self.pos..self.filled, 0);
            self.base += self.pos as u64;
            self.filled -= self.pos;
            self.pos = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let got = self.input.read(&mut self.buffer[self.filled..])?;
        self.filled += got;
        self.ended = got == 0;
        Ok(())
    }

    /// Room behind the window that a read could fill.
    pub fn room(&self) -> usize {
        self.buffer.len() - self.filled
    }

    /// Gives the buffer away and goes on in `fresh`, where the window becomes the first bytes.
    ///
    /// `fresh` must have room for the window.
    pub fn renew(&mut self, mut fresh: Vec<u8>) -> Vec<u8> {
        let window = self.pos..self.filled;
        fresh[..window.len()].copy_from_slice(&self.buffer[window.clone()]);
        self.base += self.pos as u64;
        self.pos = 0;
        self.filled = window.len();
        std::mem::replace(&mut self.buffer, fresh)
    }

    /// Lends the buffer, with the window in it, to be given back by [`Source::give_back`].
    pub fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Ends [`Source::lend`].
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }
}
