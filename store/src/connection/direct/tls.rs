//! The trust of a TLS connection: as the driver has it.

use std::sync::Arc;

use redcall_common::settings::RedisSettings;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::connection::certificates::{read, set_crypto_provider};
use crate::error::StoreError;

/// Returns the trust in the servers of these settings: their authority, or those of the system, and
/// the client's certificate.
///
/// # Errors
///
/// [`StoreError::Config`] if a file cannot be read or used.
pub(crate) fn trust(settings: &RedisSettings) -> Result<Arc<ClientConfig>, StoreError> {
    set_crypto_provider();
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(file) => {
            for cert in CertificateDer::pem_slice_iter(&read(file)?) {
                let cert = cert.map_err(|error| config(&error))?;
                roots.add(cert).map_err(|error| config(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<_, _>>();
            let chain = chain.map_err(|error| config(&error))?;
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| config(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| config(&error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn config(error: &dyn std::error::Error) -> StoreError {
    StoreError::Config { problem: error.to_string(), source: None }
}
