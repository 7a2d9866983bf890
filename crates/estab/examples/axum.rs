//! An axum server on one stack and a request from another, in one process and without privileges:
//! `cargo run -p estab --features axum --example axum`.

use axum::Router;
use axum::routing::get;
use estab::Stack;
use estab::link::{PairConfig, pair};
use estab::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (here, there) = pair(PairConfig::ip(1500))?;
    let client = Stack::builder().address([10, 0, 0, 1], 24).start(here)?;
    let server = Stack::builder().address([10, 0, 0, 2], 24).start(there)?;

    let app = Router::new().route("/", get(|| async { "hello from a stack of your own\n" }));
    let listener = TcpListener::bind(&server, "10.0.0.2:80").await?;
    tokio::spawn(axum::serve(listener, app).into_future());

    let mut stream = TcpStream::connect(&client, "10.0.0.2:80").await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 10.0.0.2\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    print!("{answer}");

    for entry in client.sockets() {
        println!("{:<12} {} -> {}", format!("{:?}", entry.state), entry.local, entry.remote);
    }
    client.stop();
    server.stop();
    Ok(())
}
