//! A door with certificates on both ends.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use crate::client::{GrpcClient, INIT, record, vectors};
use crate::door::door;
use crate::python::python;
use crate::support::Stage;

/// Writes an authority, and a certificate and a key from it, into the stage's folder.
fn certificates(stage: &Stage, name: &str) -> [PathBuf; 3] {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf_pem = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    [
        stage.write(&format!("{name}-ca.pem"), ca_pem),
        stage.write(&format!("{name}.pem"), leaf_pem),
        stage.write(&format!("{name}-key.pem"), key.serialize_pem()),
    ]
}

#[tokio::test]
async fn client_with_a_certificate_begins_a_job_and_another_does_not() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let [server_ca, cert, key] = certificates(&stage, "server");
    let [client_ca, client_cert, client_key] = certificates(&stage, "client");
    let [_, other_cert, other_key] = certificates(&stage, "other");
    let (cert, key, ca) = (cert.display(), key.display(), client_ca.display());
    let tls = format!(
        "tls = {{ cert_file = \"{cert}\", key_file = \"{key}\", client_ca_file = \"{ca}\" }}"
    );
    let gateway = stage.gateway(&door(&tls)).await;
    let target = format!("localhost:{}", gateway.address("scix", "listen").port());
    let schema = vectors().join("TemplateInput.avsc");
    let call = json!({"path": INIT, "record": record(false), "timeout": 5.0});
    let certificates = [server_ca.clone(), client_cert, client_key];
    let mut client = GrpcClient::start(&python, &target, [&schema, &schema], &certificates);
    assert_eq!(client.states(call.clone()).await, (vec!["Pending".to_owned()], "OK".to_owned()));
    let certificates = [server_ca, other_cert, other_key];
    let mut other = GrpcClient::start(&python, &target, [&schema, &schema], &certificates);
    assert_eq!(other.refused(call).await.0, "UNAVAILABLE");
}
