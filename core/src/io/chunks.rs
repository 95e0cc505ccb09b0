//! The large buffers that packets live in from `read` until `write`, counted by who refers to them.

/// The size of a chunk. Half of a common 1 MiB second-level cache: what `read` copied is still there
/// when it is rewritten and written. Measured: 256 KiB and 1 MiB cost 10 to 30 % more.
pub const CHUNK: usize = 512 << 10;

/// Names one chunk of a [`Chunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkId(u32);

/// Bytes of a chunk that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they lie.
    pub chunk: ChunkId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Run {
    /// How many bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Chunks by id; one that nobody refers to is used again.
#[derive(Debug, Default)]
pub struct Chunks {
    buffers: Vec<Buffer>,
    free: Vec<ChunkId>,
    alive: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The length of `bytes`, also while they are taken out.
    size: usize,
    references: u32,
}

impl Chunks {
    /// A chunk of at least `size` bytes with one reference.
    pub fn acquire(&mut self, size: usize) -> ChunkId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Buffer::default());
            ChunkId(u32::try_from(self.buffers.len() - 1).expect("fewer than 2^32 chunks"))
        });
        let buffer = &mut self.buffers[id.0 as usize];
        if buffer.bytes.len() < size.max(CHUNK) {
            buffer.bytes = vec![0; size.max(CHUNK)];
            buffer.size = buffer.bytes.len();
        }
        buffer.references = 1;
        self.alive += buffer.size;
        id
    }

    /// Adds a reference.
    pub fn retain(&mut self, id: ChunkId) {
        self.buffers[id.0 as usize].references += 1;
    }

    /// Takes a reference away; the last one frees the chunk.
    pub fn release(&mut self, id: ChunkId) {
        let buffer = &mut self.buffers[id.0 as usize];
        buffer.references -= 1;
        if buffer.references == 0 {
            self.alive -= buffer.size;
            // A buffer grown for one giant record is not kept.
            if buffer.size > CHUNK {
                *buffer = Buffer::default();
            }
            self.free.push(id);
        }
    }

    /// Whether the caller's reference is the only one.
    pub fn is_sole(&self, id: ChunkId) -> bool {
        self.buffers[id.0 as usize].references == 1
    }

    /// Bytes in chunks that somebody refers to.
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// Takes the bytes out, so that they can be changed while the rest of `self` is in use.
    pub fn take(&mut self, id: ChunkId) -> Vec<u8> {
        std::mem::take(&mut self.buffers[id.0 as usize].bytes)
    }

    /// Puts back what [`Chunks::take`] gave; it may have grown.
    pub fn put(&mut self, id: ChunkId, bytes: Vec<u8>) {
        let buffer = &mut self.buffers[id.0 as usize];
        self.alive = self.alive - buffer.size + bytes.len();
        buffer.size = bytes.len();
        buffer.bytes = bytes;
    }

    /// The bytes of a run.
    pub fn bytes(&self, run: Run) -> &[u8] {
        &self.buffers[run.chunk.0 as usize].bytes[run.start as usize..run.end as usize]
    }

    /// The whole chunk, to be written to.
    pub fn bytes_mut(&mut self, id: ChunkId) -> &mut [u8] {
        &mut self.buffers[id.0 as usize].bytes
    }
}
