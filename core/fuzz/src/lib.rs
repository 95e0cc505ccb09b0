//! What each fuzz target does with its input, without a fuzzer: `fuzz_targets/` hands these to
//! libFuzzer, `core/tests/corpus.rs` replays the corpora through them.

pub mod capture;
pub mod checkpoint;
pub mod engine;
pub mod events;
pub mod header;
pub mod ring;
pub mod wire;

/// A target's name, which is also that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("proxy_v1", header::proxy_v1),
    ("proxy_v2", header::proxy_v2),
    ("sslproxy", header::sslproxy),
    ("layouts", header::layouts),
    ("declarations", header::declarations),
    ("captures", capture::captures),
    ("filters", capture::filters),
    ("wire", wire::wire),
    ("engine", engine::engine),
    ("checkpoint", checkpoint::checkpoint),
    ("rings", ring::rings),
    ("events", events::events),
];
