//! Stable error codes. Each has a page of the same name under `docs/errors`.
