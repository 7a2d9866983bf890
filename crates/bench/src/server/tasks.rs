//! estab on a tokio runtime, with tokio's sockets: a task for each connection, all in one thread.

use std::io;

use anyhow::Result;
use estab::net::{TcpListener, TcpStream};
use link::Tun;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stack;
use crate::application::{CHUNK, Exchange, Requests, cargo};
use crate::row::{Row, Work};

/// Serves until the process ends.
pub(super) fn serve(row: &Row, tun: Tun) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stack = stack(row).on_runtime(runtime.handle()).start(tun)?;
    let (work, address) = (row.work, row.server());
    runtime.block_on(async {
        let listener = TcpListener::bind(&stack, address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // The client may have gone; whoever misses something is the client.
                let _ = serve_one(work, stream).await;
            });
        }
    })
}

async fn serve_one(work: Work, mut stream: TcpStream) -> io::Result<()> {
    match work.exchange() {
        Some(exchange) => answer(&exchange, &mut stream).await,
        None if work == Work::ToUs => discard(&mut stream).await,
        None => supply(&mut stream).await,
    }
}

async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

async fn supply(stream: &mut TcpStream) -> io::Result<()> {
    let chunk = cargo(CHUNK);
    loop {
        stream.write_all(&chunk).await?;
    }
}

async fn answer(exchange: &Exchange, stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut requests = Requests::default();
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..requests.complete(count, exchange.request.len()) {
            stream.write_all(exchange.reply).await?;
            if exchange.closes {
                return Ok(());
            }
        }
    }
}
