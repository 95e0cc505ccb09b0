//! The binding: thin.

mod engine;
mod events;
mod header;
mod live;
mod replay;

use pyo3::prelude::*;

/// A JSON value as Python's own objects.
fn json_to_python<'py>(py: Python<'py>, value: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?
        .call_method1("loads", (value.to_string(),))
}

/// The packet side of Peeltap; see `peeltap_core.pyi`.
#[pymodule]
mod peeltap_core {
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::events::{count_lines, FlowIndex, KnownEvents};
    #[pymodule_export]
    use super::header::{emit_header, emit_proxy_v2, parse_header, MalformedHeaderError};
    #[pymodule_export]
    use super::live::Live;
    #[pymodule_export]
    use super::replay::Replay;

    /// The version of this library.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
