//! The binding: thin.

/// The packet side of Peeltap; see `peeltap_core.pyi`.
#[pyo3::pymodule]
mod peeltap_core {
    /// The version of this library.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
