//! stub
use super::Desk;
use crate::platform::sockets::ControlSocket;
use tokio_util::sync::CancellationToken;
/// stub
pub async fn run(control: ControlSocket, desk: Desk, stop: CancellationToken) {
    stop.cancelled().await;
    drop((control, desk));
}
