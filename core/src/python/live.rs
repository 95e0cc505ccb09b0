//! `Live`: the ring through the engine to the tap.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::replay::to_python;
use crate::engine::{Config, Engine};
use crate::io::filter::Instruction;
use crate::io::port::Kind;
use crate::io::ring::Settings;
use crate::io::Error;
use crate::live;

/// See `peeltap_core.pyi`.
#[pyclass(module = "peeltap_core", frozen)]
pub struct Live {
    live: Mutex<live::Live>,
    shared: Arc<live::Shared>,
}

fn kind(name: &str) -> PyResult<Kind> {
    match name {
        "tap" => Ok(Kind::Tap),
        "packet" => Ok(Kind::Packet),
        _ => {
            let text = format!("output {name:?} is none of tap, packet");
            Err(PyValueError::new_err(text))
        }
    }
}

fn borrow(fd: &RawFd) -> Result<BorrowedFd<'_>, Error> {
    // SAFETY: fcntl(2) with this command takes no pointers.
    if unsafe { libc::fcntl(*fd, libc::F_GETFD) } < 0 {
        return Err(Error::io("output", std::io::Error::last_os_error()));
    }
    // SAFETY: the descriptor is open, and the caller keeps it so until we have copied it.
    Ok(unsafe { BorrowedFd::borrow_raw(*fd) })
}

impl Live {
    /// Only to be called without the GIL: another thread that holds the lock may need it to go on.
    fn lock(&self) -> MutexGuard<'_, live::Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Live {
    #[new]
    #[pyo3(signature = (
        config, interface, *, output_fd, output, ring_bytes = 64 << 20, block_timeout_ms = 20,
        promiscuous = true, filter = None, fanout = None
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of one flat Python constructor"
    )]
    fn new(
        py: Python<'_>,
        config: &[u8],
        interface: String,
        output_fd: RawFd,
        output: &str,
        ring_bytes: usize,
        block_timeout_ms: u32,
        promiscuous: bool,
        filter: Option<Vec<Instruction>>,
        fanout: Option<(u16, u16)>,
    ) -> PyResult<Live> {
        let config =
            Config::from_json(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let kind = kind(output)?;
        let settings = Settings {
            interface,
            bytes: ring_bytes,
            block_timeout_ms,
            promiscuous,
            filter: filter.unwrap_or_default(),
            fanout,
        };
        let live = py
            .detach(|| live::Live::new(Engine::new(config), settings, borrow(&output_fd)?, kind))
            .map_err(to_python)?;
        Ok(Live {
            shared: live.shared(),
            live: Mutex::new(live),
        })
    }

    fn step(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<()> {
        py.detach(|| self.lock().step(Duration::from_millis(timeout_ms)))
            .map_err(to_python)
    }

    fn wake(&self) {
        self.shared.wake();
    }

    fn state(&self) -> (&'static str, &'static str) {
        let (interface, output) = self.shared.states();
        (interface.name(), output.name())
    }

    fn reopen(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.lock().reopen()).map_err(to_python)
    }

    fn set_output(&self, py: Python<'_>, output_fd: RawFd, output: &str) -> PyResult<()> {
        let kind = kind(output)?;
        py.detach(|| self.lock().set_output(borrow(&output_fd)?, kind))
            .map_err(to_python)
    }

    fn take_records<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.lock().take_records()))
    }

    #[pyo3(signature = (*, full))]
    fn checkpoint_begin(&self, py: Python<'_>, full: bool) {
        py.detach(|| self.lock().engine_mut().checkpoint_begin(full));
    }

    #[pyo3(signature = (slots = 16384))]
    fn checkpoint_some<'py>(&self, py: Python<'py>, slots: usize) -> Option<Bound<'py, PyBytes>> {
        let piece = py.detach(|| self.lock().engine_mut().checkpoint_some(slots))?;
        Some(PyBytes::new(py, &piece))
    }

    #[pyo3(signature = (*, full))]
    fn take_checkpoint<'py>(&self, py: Python<'py>, full: bool) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.lock().engine_mut().checkpoint(full)))
    }

    #[pyo3(signature = (checkpoint, *, shared = false))]
    fn resume(&self, py: Python<'_>, checkpoint: &[u8], shared: bool) -> PyResult<usize> {
        py.detach(|| self.lock().engine_mut().resume(checkpoint, shared))
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn finish(&self, py: Python<'_>) {
        py.detach(|| self.lock().finish());
    }

    fn close_some(&self, py: Python<'_>, count: usize) -> bool {
        py.detach(|| self.lock().close_some(count))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        super::json_to_python(py, &self.shared.stats())
    }
}
