//! TLS, with and without client certificates.

use std::sync::Arc;

use redcall_testkit::{Certificates, eventually};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Line, Opened, open};
use crate::door::acceptor;

/// Opens a door with the server's certificate; `client_ca`: it requires those of clients.
async fn with_tls(certificates: &Certificates, client_ca: bool) -> Opened {
    let file = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key) = (file(certificates.server()), file(certificates.server_key()));
    let ca = match client_ca {
        true => format!(", client_ca_file = '{}'", file(certificates.ca())),
        false => String::new(),
    };
    open(&format!("tls = {{ cert_file = '{cert}', key_file = '{key}'{ca} }}")).await
}

async fn connect(
    opened: &Opened,
    certificates: &Certificates,
    own: bool,
) -> std::io::Result<Line<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match own {
        false => config.with_no_client_auth(),
        true => {
            let chain = vec![CertificateDer::from_pem_file(certificates.client()).unwrap()];
            let key = PrivateKeyDer::from_pem_file(certificates.client_key()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(opened.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Line::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// Sends a line; with TLS 1.3 a client notices a rejection only when it reads.
async fn answer_of(line: std::io::Result<Line<TlsStream<TcpStream>>>) -> Option<String> {
    let mut line = line.ok()?;
    line.send("a").await;
    line.read().await
}

#[tokio::test]
async fn tls_door_serves_over_tls_and_nothing_else() {
    let certificates = Certificates::create();
    let mut opened = with_tls(&certificates, false).await;
    let _serving = opened.serve();
    assert_eq!(answer_of(connect(&opened, &certificates, false).await).await.as_deref(), Some("a"));
    assert_ne!(opened.connect().await.request("plain text").await.as_deref(), Some("plain text"));
    let refused = r#"redcall_gateway_refused_total{gateway="g",why="tls"}"#;
    let counted = async || (opened.metric(refused) == Some(1.0)).then_some(());
    eventually("the plain connection to be counted", counted).await;
}

#[tokio::test]
async fn client_without_a_certificate_of_the_authority_is_rejected() {
    let certificates = Certificates::create();
    let mut opened = with_tls(&certificates, true).await;
    let _serving = opened.serve();
    assert_eq!(answer_of(connect(&opened, &certificates, true).await).await.as_deref(), Some("a"));
    assert_eq!(answer_of(connect(&opened, &certificates, false).await).await, None);
    let others = Certificates::create();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let chain = vec![CertificateDer::from_pem_file(others.client()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(others.client_key()).unwrap();
    let config = config.with_client_auth_cert(chain, key).unwrap();
    let stream = TcpStream::connect(opened.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let line = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(Line::new);
    assert_eq!(answer_of(line).await, None);
}

#[test]
fn certificate_that_cannot_be_used_is_named() {
    let certificates = Certificates::create();
    let settings = |cert_file, key_file| redcall_common::settings::TlsSettings {
        cert_file,
        key_file,
        client_ca_file: None,
    };
    let error_of = |cert_file, key_file| {
        acceptor(&settings(cert_file, key_file), &[]).map(drop).unwrap_err().to_string()
    };
    let missing = certificates.ca().with_file_name("missing.pem");
    let error = error_of(missing.clone(), certificates.server_key());
    assert!(error.starts_with(missing.to_str().unwrap()), "{error}");
    let error = error_of(certificates.server_key(), certificates.server_key());
    assert!(error.ends_with("it holds no certificate in PEM form"), "{error}");
    let error = error_of(certificates.server(), certificates.client_key());
    assert!(error.starts_with(certificates.server().to_str().unwrap()), "{error}");
}
