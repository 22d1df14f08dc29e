//! Takes handles of the host and never gives one back.

wit_bindgen::generate!({
    inline: "
        package syncline:leak;

        world leak {
            import wasi:cli/stdout@0.2.1;
        }

        package wasi:io@0.2.1 {
            interface streams {
                resource output-stream;
            }
        }

        package wasi:cli@0.2.1 {
            interface stdout {
                use wasi:io/streams@0.2.1.{output-stream};
                get-stdout: func() -> output-stream;
            }
        }
    ",
    generate_all,
});

/// Few enough for wasmtime, too many for the host.
pub fn handles() {
    for _ in 0..300 {
        std::mem::forget(wasi::cli::stdout::get_stdout());
    }
}
