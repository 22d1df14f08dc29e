//! Reading an answer's body, decoded as it streams, up to a limit that holds for the decoded bytes.

use bytes::{Bytes, BytesMut};

/// Why a body was not read to its end.
pub(super) enum Broken {
    TooLarge,
    /// The run may not receive any more.
    OverBudget,
    Network(reqwest::Error),
}

/// The whole body. `count` sees the size of each chunk and says whether the run may go on. A body that arrives in one
/// chunk is passed on without a copy.
pub(super) async fn read(
    response: &mut reqwest::Response,
    bytes_max: u64,
    mut count: impl FnMut(u64) -> bool,
) -> Result<Bytes, Broken> {
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max {
        return Err(Broken::TooLarge);
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Broken::Network)? {
        if !count(chunk.len() as u64) {
            return Err(Broken::OverBudget);
        }
        let so_far = first.len().max(whole.len()) + chunk.len();
        if so_far as u64 > bytes_max {
            return Err(Broken::TooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = chunk;
            continue;
        }
        if whole.is_empty() {
            // What a server announces is at most `bytes_max` here, and reserved memory is touched only when filled.
            whole.reserve(usize::try_from(announced).unwrap_or(0).max(so_far));
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
