//! The example of the README: a handler, its worker, a call.

use redcall_client::Client;
use redcall_worker::{Json, Settings, Worker};

#[derive(serde::Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

async fn add(Json(terms): Json<Terms>) -> Json<i64> {
    Json(terms.a + terms.b)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::load(None)?; // redcall.toml, REDIS_URL, else 127.0.0.1:6379
    let worker = Worker::from_settings(settings.clone())?.handler("add", add);
    tokio::spawn(worker.run()); // usually a process of its own
    let client = Client::from_settings(&settings).await?;
    let answer = client.call_and_wait("add", &serde_json::json!({"a": 1, "b": 2})).await?;
    println!("1 + 2 = {}", answer.json::<i64>()?);
    Ok(())
}
