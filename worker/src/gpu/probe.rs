//! Whether CUDA works where jobs run.

use std::io;

/// Asks the CUDA driver to begin, as every framework does first, and counts what it shows; needs nothing but Python.
pub(crate) const SCRIPT: &str = r#"
import ctypes
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    raise SystemExit("libcuda.so.1 can't be loaded: %s" % error)
code = cuda.cuInit(0)
if code:
    raise SystemExit("cuInit answers %d" % code)
count = ctypes.c_int(-1)
code = cuda.cuDeviceGetCount(ctypes.byref(count))
if code or count.value < 1:
    raise SystemExit("cuDeviceGetCount answers %d with %d devices" % (code, count.value))
print("devices: %d" % count.value)
"#;

/// Runs the script where jobs run, with one GPU leased; gives why CUDA does not work there.
///
/// `run` gives what the script printed, or as an error what it said when it failed.
pub(crate) async fn probe(run: impl AsyncFnOnce(&str) -> io::Result<String>) -> Result<(), String> {
    let printed = run(SCRIPT).await.map_err(|error| error.to_string())?;
    let count = printed.trim().strip_prefix("devices: ").and_then(|count| count.parse::<u32>().ok());
    match count {
        Some(1..) => Ok(()),
        _ => Err(format!("the CUDA probe printed {:?}", printed.chars().take(200).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_count_of_devices_is_a_yes() {
        assert_eq!(probe(async |_| Ok("devices: 1\n".to_owned())).await, Ok(()));
        assert!(probe(async |_| Ok("devices: 0\n".to_owned())).await.is_err());
        assert!(probe(async |_| Ok(String::new())).await.is_err());
        let failed = probe(async |_| Err(io::Error::other("cuInit answers 999"))).await;
        assert_eq!(failed, Err("cuInit answers 999".to_owned()));
    }
}
