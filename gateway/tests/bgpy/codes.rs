//! Every code on the wire.

use redcall_client::Code;

use crate::client::{Client, kind};
use crate::service;
use crate::support::codes::message;

#[tokio::test]
async fn every_code_has_its_text_on_the_wire() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    for code in Code::ALL {
        let message = match code {
            Code::Conflict => "Not yet initialized.".to_owned(),
            Code::Unauthorized => "Invalid client authentication.".to_owned(),
            code => message(*code),
        };
        let wanted = format!(r#"{{"message":"{message}","code":"{code}","await_response":false}}"#);
        let answer = client.execute(&format!(r#""command":"code","code":"{code}""#)).await;
        assert_eq!(answer, (kind::ERROR, wanted));
    }
}
