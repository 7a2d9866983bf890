//! hyper and axum, unchanged, on our sockets.

mod common;

use std::convert::Infallible;

use axum::Router;
use axum::routing::{get, post};
use common::{PATIENCE, World, at, pattern};
use estab::net::{TcpListener, TcpStream};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

/// Sends one request over a connection of its own.
async fn fetch(world: &World, port: u16, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
    let stream = TcpStream::connect(&world.client, at(port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let status = response.status();
    let body = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap();
    drop(sender);
    timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    (status, body.to_bytes())
}

fn request(method: &str, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path).header("host", "10.0.0.2");
    builder.body(Full::new(body.into())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_serves_hyper() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(80)).await.unwrap();
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            let echo = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), echo),
            );
        }
    });
    for (salt, length) in [(1, 0), (2, 100), (3, 1 << 20)] {
        let body = pattern(length, salt);
        let (status, echoed) = fetch(&world, 80, request("POST", "/", body.clone())).await;
        assert_eq!(status, StatusCode::OK);
        common::assert_same(&echoed, &body);
    }
    server.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_serves() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(8080)).await.unwrap();
    let app = Router::new()
        .route("/", get(|| async { "a page" }))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let until = async { stopped.await.unwrap_or_default() };
        axum::serve(listener, app).with_graceful_shutdown(until).await
    });
    let (status, page) = fetch(&world, 8080, request("GET", "/", Vec::new())).await;
    assert_eq!((status, &page[..]), (StatusCode::OK, &b"a page"[..]));
    let (_, length) = fetch(&world, 8080, request("POST", "/length", vec![7; 54_321])).await;
    assert_eq!(&length[..], b"54321");
    let (status, _) = fetch(&world, 8080, request("GET", "/nothing", Vec::new())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    stop.send(()).unwrap();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
}
