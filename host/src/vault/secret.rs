//! A value that nothing prints, serializes or leaves behind in memory.

use std::fmt;
use zeroize::Zeroize;

/// Holds a secret. It has no `Display` and no `Serialize`, its `Debug` says only that something is there, and its
/// memory is overwritten on drop. The value is reached through [`Secret::expose`] alone, so that every use can be
/// searched for.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value itself. What is made from it must not be logged or stored.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<Vec<u8>> {
    /// The bytes as text, or the bytes back when they are not UTF-8.
    pub fn into_text(mut self) -> Result<Secret<String>, Secret<Vec<u8>>> {
        match String::from_utf8(std::mem::take(&mut self.0)) {
            Ok(text) => Ok(Secret(text)),
            Err(error) => Err(Secret(error.into_bytes())),
        }
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Holder {
        name: &'static str,
        password: Secret<String>,
    }

    #[test]
    fn debug_is_redacted_inside_other_types_too() {
        let holder = Holder { name: "club", password: Secret::new("canary-7f3a".into()) };
        let shown = format!("{holder:?} {holder:#?}");
        assert!(shown.contains("[redacted]") && shown.contains("club"));
        assert!(!shown.contains("canary"));
    }

    /// An `expect` on an error that holds a secret prints that error.
    #[test]
    fn a_panic_shows_nothing_of_it() {
        let log_in =
            |name| Err::<(), Holder>(Holder { name, password: Secret::new("canary-7f3a".into()) });
        let panicked = std::panic::catch_unwind(|| log_in("club").expect("the login works"));
        let said = panicked.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains("club") && said.contains("[redacted]"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }

    /// Does not compile once `Secret` implements one of these traits: the method would then be ambiguous.
    #[test]
    fn cannot_be_displayed_serialized_or_cloned() {
        trait Lacks<Marker> {
            fn holds() {}
        }
        struct Displayed;
        struct Serialized;
        struct Cloned;
        impl<T: ?Sized> Lacks<()> for T {}
        impl<T: ?Sized + fmt::Display> Lacks<Displayed> for T {}
        impl<T: ?Sized + serde::Serialize> Lacks<Serialized> for T {}
        impl<T: Clone> Lacks<Cloned> for T {}
        <Secret<String> as Lacks<_>>::holds();
        <Secret<Vec<u8>> as Lacks<_>>::holds();
    }

    #[test]
    fn memory_is_overwritten_on_drop() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        struct Watched(Arc<AtomicBool>);
        impl Zeroize for Watched {
            fn zeroize(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let wiped = Arc::new(AtomicBool::new(false));
        drop(Secret::new(Watched(Arc::clone(&wiped))));
        assert!(wiped.load(Ordering::SeqCst));
    }

    #[test]
    fn bytes_become_text_only_when_they_are() {
        let text = Secret::new(b"p\xc3\xa1ss".to_vec()).into_text();
        assert!(matches!(text, Ok(text) if text.expose() == "páss"));
        let bytes = Secret::new(vec![0xff, 0xfe]).into_text();
        assert!(matches!(bytes, Err(bytes) if bytes.expose() == &[0xff, 0xfe]));
    }
}
