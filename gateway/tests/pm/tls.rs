//! Applications that connect over TLS, with a certificate of their own.

use redcall_testkit::Certificates;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::raw::{framed, result};
use crate::support::{Stage, tls};

/// Reads a message; `None` if the connection has ended.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Value> {
    let length = stream.read_u32().await.ok()?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Sends a call of `echo` and reads the next message.
async fn called(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), data: &Value) -> Option<Value> {
    let params = json!({"sid": "S", "params": data});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": params});
    // A connection that was rejected may have ended.
    let _ = stream.write_all(&framed(&call.to_string())).await;
    let _ = stream.flush().await;
    read(stream).await
}

#[tokio::test]
async fn application_needs_a_certificate_of_the_authority() {
    let (ours, others) = (Certificates::create(), Certificates::create());
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(|worker| worker).await;
    let door = format!(
        "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\nserves = [\"run\"]\n\
         queues = [\"pm\"]\n{}",
        tls::key(&ours)
    );
    let gateway = stage.gateway(&door).await;
    let address = gateway.address("apps", "listen");
    for client in [None, Some(&others)] {
        let answer = match tls::connect(address, &ours, client).await {
            Ok(mut stream) => called(&mut stream, &json!(1)).await,
            Err(_) => None,
        };
        assert_eq!(answer, None);
    }
    // More than one record of TLS, in both directions.
    let large = json!("x".repeat(300_000));
    let mut stream = tls::connect(address, &ours, Some(&ours)).await.unwrap();
    assert_eq!(called(&mut stream, &large).await, Some(result(1, "S", &large)));
    let call = tokio::spawn(client.request("run").queue("pm").data(&json!({"a": 1})).wait());
    let sent = read(&mut stream).await.unwrap();
    assert_eq!(sent["params"]["params"], json!({"a": 1}));
    let answer = json!({"sid": sent["params"]["sid"], "result": large});
    let answer = json!({"jsonrpc": "2.0", "id": sent["id"], "result": answer});
    stream.write_all(&framed(&answer.to_string())).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().json::<Value>().unwrap(), large);
}
