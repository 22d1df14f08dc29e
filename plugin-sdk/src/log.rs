//! Lines in the run's log. The host adds plugin, run and page; keep secrets and personal data out.
//!
//! ```
//! use syncline_plugin_sdk::log;
//!
//! log::warn!("{} columns are not known", 3);
//! ```

pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};

/// Writes one line; the macros of this module call it.
#[doc(hidden)]
pub fn write(level: &str, message: &std::fmt::Arguments<'_>) {
    let message = message.to_string();
    #[cfg(target_family = "wasm")]
    crate::guest::connector::syncline::plugin::log::write(level, &message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::record_log(level, message);
}

/// Something failed.
#[doc(hidden)]
#[macro_export]
macro_rules! __error { ($($arg:tt)*) => { $crate::log::write("error", &format_args!($($arg)*)) }; }
/// Something is odd, and the run goes on.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn { ($($arg:tt)*) => { $crate::log::write("warn", &format_args!($($arg)*)) }; }
/// Something that an operator may want to know.
#[doc(hidden)]
#[macro_export]
macro_rules! __info { ($($arg:tt)*) => { $crate::log::write("info", &format_args!($($arg)*)) }; }
/// Something that only the plugin's author wants to know.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug { ($($arg:tt)*) => { $crate::log::write("debug", &format_args!($($arg)*)) }; }
