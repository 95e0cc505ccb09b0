//! The binding: thin.

mod header;

/// The packet side of Peeltap; see `peeltap_core.pyi`.
#[pyo3::pymodule]
mod peeltap_core {
    /// The version of this library.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use super::header::{emit_header, emit_proxy_v2, parse_header, MalformedHeader};
}
