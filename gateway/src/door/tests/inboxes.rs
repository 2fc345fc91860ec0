//! A gateway of rq that cannot write the end of a job: no other gateway takes a job from a live
//! inbox, so it continues with another one.

use redcall_testkit::redis::{AsyncCommands as _, cmd, pipe};
use redcall_testkit::{TestRedis, eventually};

use super::open_as;
use crate::protocols;

const GATEWAYS: &str = "redcall-gateway:rq:g:gateways";

#[tokio::test]
async fn job_whose_end_cannot_be_written_is_taken_over() {
    let rq = TestRedis::start().await;
    let mut redis = rq.connection().await;
    let user = |rules: &[&str]| cmd("ACL").arg("SETUSER").arg("limited").arg(rules).to_owned();
    // Of all scripts, only the one that ends a job uses HDEL.
    let all = user(&["on", ">secret", "~*", "&*", "+@all", "-hdel"]);
    all.exec_async(&mut redis).await.unwrap();
    let url = format!("{}?user=limited&pass=secret", rq.url());
    let door = format!("[gateways.g]\nprotocol = 'rq'\ntake = ['default']\nurl = '{url}'\n");
    let mut opened = open_as(&door).await;
    let listeners = std::mem::take(&mut opened.listeners);
    let serving = tokio::spawn(protocols::serve(opened.door.clone(), listeners));
    let mut job = pipe();
    job.hset("rq:job:a", "data", "not a pickle").rpush("rq:queue:default", "a");
    job.exec_async(&mut redis).await.unwrap();
    eventually("another inbox", async || {
        let inboxes: usize = redis.clone().zcard(GATEWAYS).await.unwrap();
        (inboxes == 2).then_some(())
    })
    .await;
    user(&["+hdel"]).exec_async(&mut redis).await.unwrap();
    eventually("the end of the job", async || {
        let status: Option<String> = redis.clone().hget("rq:job:a", "status").await.unwrap();
        (status.as_deref() == Some("failed")).then_some(())
    })
    .await;
    eventually("the first inbox to be forgotten", async || {
        let inboxes: usize = redis.clone().zcard(GATEWAYS).await.unwrap();
        (inboxes == 1).then_some(())
    })
    .await;
    assert!(!serving.is_finished(), "the door has ended");
    serving.abort();
}
