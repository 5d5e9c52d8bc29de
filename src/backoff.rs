//! Pure jittered backoff.
