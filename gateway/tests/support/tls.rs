//! TLS clients of doors.

use std::net::SocketAddr;
use std::sync::Arc;

use redcall_testkit::Certificates;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Returns the key `tls` of a door that asks for client certificates.
pub(crate) fn key(certificates: &Certificates) -> String {
    let file = |path: std::path::PathBuf| path.display().to_string();
    let (cert, key) = (file(certificates.server()), file(certificates.server_key()));
    let ca = file(certificates.ca());
    format!("tls = {{ cert_file = \"{cert}\", key_file = \"{key}\", client_ca_file = \"{ca}\" }}\n")
}

/// Connects to a door whose authority is that of `server`, with the client certificate of `client`.
/// With TLS 1.3 a client notices a rejection only when it reads.
pub(crate) async fn connect(
    address: SocketAddr,
    server: &Certificates,
    client: Option<&Certificates>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let chain = vec![CertificateDer::from_pem_file(client.client()).unwrap()];
            let key = PrivateKeyDer::from_pem_file(client.client_key()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
