//! `Replay`: files through the engine into a file.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::{Config, Engine};
use crate::io::filter::Instruction;
use crate::io::Error;
use crate::replay::{self, Filters, Progress};

/// A program, or programs by link type.
#[derive(FromPyObject)]
enum Programs {
    One(Vec<Instruction>),
    ByLinkType(BTreeMap<u16, Vec<Instruction>>),
}

/// See `peeltap_core.pyi`.
///
/// Another thread may ask for progress while one steps; all else takes turns.
#[pyclass(module = "peeltap_core", frozen)]
pub struct Replay {
    replay: Mutex<replay::Replay<Engine>>,
    progress: Arc<Progress>,
    bytes_total: Option<u64>,
}

impl Replay {
    /// Only to be called without the GIL: another thread that holds the lock may need it to go on.
    fn lock(&self) -> MutexGuard<'_, replay::Replay<Engine>> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Replay {
    #[new]
    #[pyo3(signature = (config, inputs, output, *, filter = None, window_bytes = 64 << 20))]
    fn new(
        py: Python<'_>,
        config: &[u8],
        inputs: Vec<String>,
        output: Option<String>,
        filter: Option<Programs>,
        window_bytes: usize,
    ) -> PyResult<Replay> {
        let config =
            Config::from_json(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let filters = match filter {
            None => Filters::None,
            Some(Programs::One(program)) => Filters::one(&program).map_err(to_python)?,
            Some(Programs::ByLinkType(programs)) => {
                Filters::by_link_type(programs).map_err(to_python)?
            }
        };
        // Ctrl-C while an input keeps us waiting: its handler runs here, and may raise.
        let mut raised = None;
        let replay = py.detach(|| {
            let mut go_on = || {
                raised = Python::attach(|py| py.check_signals()).err();
                raised.is_none()
            };
            let engine = Engine::new(config);
            let output = output.as_deref();
            replay::Replay::new(engine, &inputs, output, filters, window_bytes, &mut go_on)
        });
        if let Some(raised) = raised {
            return Err(raised);
        }
        let replay = replay.map_err(to_python)?;
        let (progress, bytes_total) = (replay.progress(), replay.bytes_total());
        Ok(Replay {
            replay: Mutex::new(replay),
            progress,
            bytes_total,
        })
    }

    fn step(&self, py: Python<'_>, packets: u64) -> PyResult<bool> {
        py.detach(|| self.lock().step(packets)).map_err(to_python)
    }

    fn progress(&self) -> (u64, u64, Option<u64>) {
        let Progress { packets, bytes } = &*self.progress;
        (
            packets.load(Ordering::Relaxed),
            bytes.load(Ordering::Relaxed),
            self.bytes_total,
        )
    }

    fn take_records<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.lock().take_records()))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        super::json_to_python(py, &py.detach(|| self.lock().stats()))
    }

    fn warnings(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.lock().warnings())
    }
}

pub(super) fn to_python(error: Error) -> PyErr {
    match error {
        Error::Unfit(text) => PyValueError::new_err(text),
        Error::Io { name, source } => {
            // From three arguments OSError makes its own subclasses: FileNotFoundError and so on.
            let reason = match source.raw_os_error() {
                Some(number) => system_reason(number, &source),
                None => source.to_string(),
            };
            PyOSError::new_err((source.raw_os_error(), reason, name))
        }
    }
}

/// The system's words alone: Rust appends the number, which OSError prints itself.
fn system_reason(number: i32, source: &std::io::Error) -> String {
    let text = source.to_string();
    let suffix = format!(" (os error {number})");
    text.strip_suffix(&suffix).unwrap_or(&text).to_owned()
}
