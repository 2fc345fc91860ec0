//! The schema registry of a door.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::vectors;
use crate::door::door;
use crate::support::Stage;

async fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn registry_answers_with_the_schemas_of_the_door() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("registry = \"127.0.0.1:0\"")).await;
    let address = gateway.address("scix", "registry");
    let text = std::fs::read_to_string(vectors().join("TemplateInput.avsc")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    for subject in ["TemplateInputSchema", "TemplateInput"] {
        let path = format!("/subjects/{subject}/versions/latest");
        let (status, found) = get(address, &path).await;
        assert_eq!(
            (status, &found["subject"], &found["version"]),
            (200, &subject.into(), &1.into())
        );
        let written: Value = serde_json::from_str(found["schema"].as_str().unwrap()).unwrap();
        assert_eq!(written, schema);
        let (status, by_id) = get(address, &format!("/schemas/ids/{}", found["id"])).await;
        assert_eq!((status, &by_id["schema"]), (200, &found["schema"]));
    }
    let (_, output) = get(address, "/subjects/TemplateOutputSchema/versions/1").await;
    assert_eq!(output["id"], 2);
    let (_, all) = get(address, "/subjects").await;
    assert_eq!(all.as_array().unwrap().len(), 4);
    for (path, code) in [
        ("/subjects/Other/versions/latest", 40401),
        ("/subjects/TemplateInput/versions/2", 40402),
        ("/schemas/ids/3", 40403),
        ("/schemas/ids/0", 40403),
        ("/", 404),
    ] {
        let (status, body) = get(address, path).await;
        assert_eq!((status, &body["error_code"]), (404, &code.into()), "{path}");
    }
}
