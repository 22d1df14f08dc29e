//! The sockets: accepts connections, bounds how many and how slow they may be, and ends them in order.

use super::patience::Patient;
use super::seats::Seats;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a connection may take to send the head of a request, also of the next one.
const HEAD_WAIT: Duration = Duration::from_secs(60);
/// How long to wait after the system refused a connection, for want of file handles for example.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Maxima of the sockets.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    pub open_max: usize,
    /// Request line and headers.
    pub head_bytes_max: usize,
    /// How long an answer waits for a peer that does not take it.
    pub write_max: Duration,
}

/// Answers requests until `stop`, then lets those under way finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Connections,
    stop: CancellationToken,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(limits.head_bytes_max);
    let (graceful, seats) = (GracefulShutdown::new(), Seats::new(limits.open_max));
    loop {
        let next = async {
            let (stream, peer) = listener.accept().await?;
            // Further ones wait in the system's queue meanwhile.
            Ok::<_, std::io::Error>((stream, peer, seats.take().await))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        let (stream, peer, seat) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // The system may have fewer handles than there are places.
                seats.dismiss();
                tokio::time::sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        // Answers are small and awaited.
        let _ = stream.set_nodelay(true);
        let (router, own) = (router.clone(), Arc::clone(&seat));
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            own.serve();
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(Arc::clone(&own));
            let (router, own) = (router.clone(), Arc::clone(&own));
            async move {
                let response = router.oneshot(request.map(axum::body::Body::new) as Request);
                let response = response.await?;
                // It is the peer's turn again when the answer has gone.
                let served = own.served();
                Ok::<_, Infallible>(response.map(|body| {
                    body.map_err(move |error| {
                        let _until_gone = &served;
                        error
                    })
                }))
            }
        });
        let stream = TokioIo::new(Patient::new(stream, limits.write_max));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            // Peers go away; that is no event.
            tokio::select! {
                _ = connection => {}
                () = seat.dismissed() => {}
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
