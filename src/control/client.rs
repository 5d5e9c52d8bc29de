//! The command line's side of the control socket.
//!
//! In: the socket's path, a request. Out: the answer's bytes or document, or why there is none. Owns one connection per
//! request. May not: print, exit, or start a daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::proto::Refused;
use crate::limits::CONTROL_ANSWER;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon listens there.
    #[error("hub is not running")]
    NotRunning {
        /// The socket that was tried.
        socket: PathBuf,
    },
    /// The socket is there but cannot be used.
    #[error("cannot talk to hub over {}", .socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("hub did not answer")]
    Broken(#[from] hyper::Error),
    /// It is there, and says nothing.
    #[error("hub runs, and does not answer")]
    Silent,
    /// hub answered that it will not.
    #[error("{}", .0.error)]
    Refused(Refused),
    /// The answer is not what this version expects.
    #[error("hub gave an answer that this command does not understand")]
    Unexpected(#[from] serde_json::Error),
}

/// The way to a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon with this control socket. Does not connect yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// A document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.get_bytes(path).await?)?)
    }

    /// A document as it came.
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes, Error> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    /// A document that hub has in memory: if it takes longer than [`CONTROL_ANSWER`], hub hangs.
    pub async fn prompt<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.prompt_bytes(path).await?)?)
    }

    /// See [`Client::prompt`]; as it came.
    pub async fn prompt_bytes(&self, path: &str) -> Result<Bytes, Error> {
        timeout(CONTROL_ANSWER, self.get_bytes(path)).await.unwrap_or(Err(Error::Silent))
    }

    /// Sends a document, or nothing, and returns the answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.exchange(Method::POST, path, body).await?)?)
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_invalid| {
            Error::Refused(Refused { error: format!("`{path}` is not a path of the control socket"), hint: None })
        })?;
        request.headers_mut().insert(HOST, const { hyper::header::HeaderValue::from_static("hub") });
        request
            .headers_mut()
            .insert(CONTENT_TYPE, const { hyper::header::HeaderValue::from_static("application/json") });
        let answer = async move {
            let response = sender.send_request(request).await?;
            let well = response.status().is_success();
            let body = response.into_body().collect().await?.to_bytes();
            if well { Ok(body) } else { Err(Error::Refused(serde_json::from_slice(&body)?)) }
        };
        let mut answer = pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            // The connection may end in the very moment in which the answer is complete.
            ended = connection => ended?,
        }
        answer.await
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        UnixStream::connect(&self.socket).await.map_err(|error| {
            let socket = self.socket.clone();
            match error.kind() {
                // A socket file without a listener is what a killed daemon leaves behind.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning { socket },
                _ => Error::Unreachable { socket, error },
            }
        })
    }
}
