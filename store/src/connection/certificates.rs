//! Certificates and keys of TLS connections, from the files that the settings name.

use std::fs;
use std::path::Path;

use redcall_common::settings::RedisSettings;
use redis::{ClientTlsConfig, TlsCertificates};

use crate::error::{Cause, StoreError};

/// Makes ring the crypto provider of TLS, unless the program has set another: redis-rs and others
/// use rustls without one, and panic if none is set.
pub fn set_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(super) fn certificates(settings: &RedisSettings) -> Result<TlsCertificates, StoreError> {
    set_crypto_provider();
    let client_tls = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
        }
        _ => None,
    };
    let root_cert = settings.ca_file.as_deref().map(read).transpose()?;
    Ok(TlsCertificates { client_tls, root_cert })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::Config {
        problem: format!("{}: {error}", path.display()),
        source: None,
    })
}

/// Returns the error of settings that cannot be used.
pub(super) fn config(error: &redis::RedisError) -> StoreError {
    StoreError::Config { problem: error.to_string(), source: Some(Cause::of_driver(error.clone())) }
}
