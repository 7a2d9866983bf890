//! The asynchronous sockets over a wire in memory, with tokio's own helpers on top.

mod common;

use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, World, assert_same, at, join, pattern};
use estab::bytes::Bytes;
use estab::net::{TcpListener, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

async fn connected(world: &World, port: u16) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&world.server, at(port)).await.unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(&world.client, at(port)), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_between_halves() {
    let world = World::new();
    let (client, server) = connected(&world, 7).await;
    let echo = tokio::spawn(async move {
        let (mut reader, mut writer) = server.into_split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let wanted = pattern(4 << 20, 1);
    let sent = wanted.clone();
    let (mut reader, mut writer) = client.into_split();
    let sender = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        // Dropping the half ends the direction.
    });
    let mut received = Vec::new();
    timeout(PATIENCE, reader.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_same(&received, &wanted);
    sender.await.unwrap();
    echo.await.unwrap();
}

#[tokio::test]
async fn one_thread_and_many_connections() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(8)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
    let mut tasks = Vec::new();
    for salt in 0..200 {
        let client = world.client.clone();
        tasks.push(tokio::spawn(async move {
            let wanted = pattern(5_000, salt);
            let mut stream = TcpStream::connect(&client, at(8)).await.unwrap();
            stream.write_all(&wanted).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            assert_same(&received, &wanted);
        }));
    }
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_dropped_future_gives_its_place_up() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 9).await;
    for _ in 0..100 {
        let nothing = timeout(Duration::from_micros(100), client.readable()).await;
        assert!(nothing.is_err());
        assert!(timeout(Duration::from_micros(100), client.read_u8()).await.is_err());
    }
    server.write_u8(7).await.unwrap();
    timeout(PATIENCE, client.readable()).await.unwrap().unwrap();
    assert_eq!(client.peek(&mut [0; 4]).await.unwrap(), 1);
    assert_eq!(client.read_u8().await.unwrap(), 7);
    assert_eq!(client.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn two_tasks_wait_for_one_socket() {
    let world = World::new();
    let (client, mut server) = connected(&world, 10).await;
    let client = Arc::new(client);
    let wait = |client: Arc<TcpStream>| tokio::spawn(async move { client.readable().await });
    let tasks = [wait(client.clone()), wait(client.clone()), wait(client)];
    tokio::task::yield_now().await;
    server.write_all(b"!").await.unwrap();
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn writing_waits_for_room() {
    let world = World::new();
    let (client, mut server) = connected(&world, 11).await;
    let chunk = pattern(1 << 16, 3);
    let mut written = 0;
    // Until nothing has moved for a while: buffers are bounded, so that comes.
    while timeout(Duration::from_millis(200), client.writable()).await.is_ok() {
        match client.try_write(&chunk) {
            Ok(count) => written += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(written < 1 << 30, "buffers are bounded");
    }
    let waits = tokio::spawn(async move { client.writable().await.map(|()| client) });
    let mut sink = vec![0; 1 << 20];
    let mut read = 0;
    while read < written {
        read += timeout(PATIENCE, server.read(&mut sink)).await.unwrap().unwrap();
    }
    assert_eq!(read, written);
    let client = timeout(PATIENCE, waits).await.unwrap().unwrap().unwrap();
    timeout(PATIENCE, client.drained()).await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_have_their_kinds() {
    let world = World::new();
    let refused = TcpStream::connect(&world.client, at(99)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let (mut client, server) = connected(&world, 12).await;
    server.reset().unwrap();
    let reset = timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    let (mut client, _server) = connected(&world, 13).await;
    let reader = tokio::spawn(async move { client.read_u8().await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    let stack = world.client.clone();
    tokio::task::spawn_blocking(move || stack.stop()).await.unwrap();
    assert_eq!(timeout(PATIENCE, reader).await.unwrap().unwrap(), ErrorKind::NetworkDown);
}

#[tokio::test]
async fn halves_reunite() {
    let world = World::new();
    let (client, mut server) = connected(&world, 14).await;
    let (other, _) = connected(&world, 15).await;
    let (reader, writer) = client.into_split();
    let (other_reader, other_writer) = other.into_split();
    let error = reader.reunite(other_writer).unwrap_err();
    let mut client = writer.reunite(error.0).unwrap();
    drop((other_reader, error.1));
    client.write_all(b"whole").await.unwrap();
    let mut bytes = [0; 5];
    timeout(PATIENCE, server.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"whole");
}

#[tokio::test]
async fn datagrams() {
    let world = World::new();
    let server = UdpSocket::bind(&world.server, at(53)).await.unwrap();
    let client = UdpSocket::bind(&world.client, "0.0.0.0:0").await.unwrap();
    client.connect(at(53)).await.unwrap();
    client.send(b"question").await.unwrap();
    let mut buffer = [0; 32];
    let (length, peer) = timeout(PATIENCE, server.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"question");
    server.send_to(b"answer", peer).await.unwrap();
    let length = timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"answer");
    assert_eq!(client.try_recv_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_waker_that_owns_a_socket_may_be_dropped_anywhere() {
    /// A task whose last reference is its waker, as in simple executors.
    struct Task(#[expect(dead_code, reason = "only dropped")] TcpStream);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let world = World::new();
    let (stream, _server) = connected(&world, 16).await;
    let (owned, mut other_end) = connected(&world, 17).await;
    let poll = thread::spawn(move || {
        let owner = Waker::from(Arc::new(Task(owned)));
        assert!(stream.poll_read_ready(&mut Context::from_waker(&owner)).is_pending());
        drop(owner);
        assert!(stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    join(poll);
    assert_eq!(timeout(PATIENCE, other_end.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn frames_and_buffers_change_hands_without_a_copy() {
    let world = World::new();
    let (client, server) = connected(&world, 20).await;
    let none = server.try_read_frames(&mut Vec::new()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
    let echo = tokio::spawn(async move {
        let mut frames = Vec::new();
        while server.read_frames(&mut frames).await.unwrap() > 0 {
            for frame in frames.drain(..) {
                server.write_all_bytes(&mut frame.into()).await.unwrap();
            }
        }
    });
    let data = pattern(2 << 20, 4);
    let (mut reader, mut writer) = client.into_split();
    let mut rest = Bytes::from(data.clone());
    let sender = tokio::spawn(async move {
        while !rest.is_empty() {
            writer.write_bytes(&mut rest).await.unwrap();
        }
    });
    let (mut received, mut frames) = (Vec::new(), Vec::new());
    while timeout(PATIENCE, reader.read_frames(&mut frames)).await.unwrap().unwrap() > 0 {
        frames.drain(..).for_each(|frame| received.extend_from_slice(&frame));
    }
    assert_same(&received, &data);
    sender.await.unwrap();
    echo.await.unwrap();
}
