//! What the engine is told: one JSON object, written by `reassembly` from the operator's YAML.

/// Placeholder fields arrive with the engine.
#[derive(Clone, Debug, Default)]
pub struct Config {}

/// Why a configuration was refused.
#[derive(Clone, Debug)]
pub struct ConfigError(pub String);
