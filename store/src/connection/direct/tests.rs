//! Writing and reading by polls, over a pair of sockets.

use std::future::poll_fn;
use std::task::Waker;

use tokio::net::UnixStream;

use super::*;

fn pair() -> (Direct, UnixStream) {
    let (own, other) = UnixStream::pair().unwrap();
    let (stream, input, output) = (Stream::Unix(own), Vec::new(), Vec::new());
    (Direct { stream, input, output }, other)
}

#[tokio::test]
async fn write_that_the_socket_does_not_take_continues() {
    let (mut direct, mut other) = pair();
    let (first, second) = (vec![b'1'; 3 << 20], vec![b'2'; 1000]);
    direct.add_packed(&first);
    let mut context = Context::from_waker(Waker::noop());
    assert!(direct.poll_write(&mut context).is_pending());
    direct.add_packed(&second);
    let expected = [first, second].concat();
    let reading = async {
        let mut read = vec![0; expected.len()];
        other.read_exact(&mut read).await.unwrap();
        read
    };
    let writing = poll_fn(|context| direct.poll_write(context));
    let (read, written) = tokio::join!(reading, writing);
    written.unwrap();
    assert!(read == expected);
}

#[tokio::test]
async fn reply_in_pieces_is_returned_when_it_is_whole() {
    let (mut direct, mut other) = pair();
    let mut context = Context::from_waker(Waker::noop());
    for piece in ["$3\r\n", "ab", "c\r\n:4"] {
        assert!(direct.poll_reply(&mut context).is_pending(), "{piece}");
        other.write_all(piece.as_bytes()).await.unwrap();
    }
    let first = poll_fn(|context| direct.poll_reply(context)).await.unwrap();
    assert_eq!(first, Value::BulkString(b"abc".to_vec()));
    assert!(direct.poll_reply(&mut context).is_pending());
    drop(other);
    let end = poll_fn(|context| direct.poll_reply(context)).await;
    assert!(matches!(end, Err(StoreError::Lost(_))), "{end:?}");
}
