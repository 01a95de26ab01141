//! What a program ended of, by the last words of its framework.

/// How many lines from the end are looked at: a traceback's reason stands last, and a few farewells may follow it.
const LINES: usize = 20;
/// And where exceptions led to others, each with a traceback.
const CHAIN_LINES: usize = 200;

/// What frameworks say when a GPU's memory is full.
const GPU_WORDS: [&str; 4] = [
    "torch.cuda.OutOfMemoryError",
    "CUDA out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "RESOURCE_EXHAUSTED: Out of memory",
];

/// Whether the end of a log says that a GPU's memory was full.
pub(crate) fn gpu_oom_in(tail: &str) -> bool {
    last_lines(tail).any(|line| GPU_WORDS.iter().any(|words| line.contains(words)))
}

/// Whether the end of a log says that the host's memory was full: Python's exception as the last one, or C++'s.
pub(crate) fn host_oom_in(tail: &str) -> bool {
    let last_exception = last_lines(tail).find(|line| is_exception(line));
    let is_python = last_exception.is_some_and(|line| {
        let name = line.split(':').next().unwrap_or_default();
        name.rsplit('.').next().is_some_and(|name| name.ends_with("MemoryError"))
            && !GPU_WORDS.iter().any(|words| line.contains(words))
            && !name.ends_with("OutOfMemoryError")
    });
    is_python || last_lines(tail).any(|line| line.contains("std::bad_alloc"))
}

/// Whether the end of a log says that a file grew beyond the limit of its size: Python ignores the signal that comes
/// with it, and raises EFBIG as the last exception; another program that it ran says it in a line of its own.
pub(crate) fn file_limit_in(tail: &str) -> bool {
    const WORDS: [&str; 6] =
        ["[Errno 27]", "errno = 27", "SIGXFSZ", "(os error 27)", "exit status 153", "returncode -25"];
    let told = |line: &str| WORDS.iter().any(|words| line.contains(words));
    let told_by_another =
        |line: &str| told(line) || line.ends_with(": File too large") || line.contains("File size limit exceeded");
    match last_lines(tail).find(|line| is_exception(line)) {
        Some(exception) if !exception.starts_with("subprocess.CalledProcessError") => {
            told(exception) || causes(tail).any(told)
        }
        _ => last_lines(tail).any(told_by_another),
    }
}

/// The exceptions that led to the last one of a log, as Python tells them before it: a program that tidies up and says
/// it in words of its own still names them.
fn causes(tail: &str) -> impl Iterator<Item = &str> {
    const LEADS: [&str; 2] = [
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ];
    let mut lines = tail.lines().rev().map(str::trim_end).filter(|line| !line.is_empty()).take(CHAIN_LINES);
    std::iter::from_fn(move || {
        // What is between an exception and the one that it led to is this one's traceback.
        lines.find(|line| LEADS.contains(line))?;
        lines.find(|line| is_exception(line))
    })
}

/// What resolvers and clients say where there is no network.
const NETWORK_WORDS: [&str; 24] = [
    "Temporary failure in name resolution",
    "Name or service not known",
    "No address associated with hostname",
    "failed to lookup address information",
    "NameResolutionError",
    "getaddrinfo failed",
    "Could not resolve host",
    "unable to resolve host",
    "Network is unreachable",
    "No route to host",
    "Failed to establish a new connection",
    "Max retries exceeded with url",
    "urlopen error",
    "requests.exceptions.ConnectionError",
    "httpx.ConnectError",
    "httpcore.ConnectError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "EndpointConnectionError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "couldn't connect to 'https://",
    "connect to https://huggingface.co",
    "dial tcp: lookup ",
];

/// Whether the end of a log says that something could not be reached over a network.
pub(crate) fn no_network_in(tail: &str) -> bool {
    let denied_socket = || {
        let denied = last_lines(tail).find(|line| is_exception(line)).is_some_and(|line| {
            line.starts_with("PermissionError: [Errno 1] ") || line.starts_with("OSError: [Errno 97] ")
        });
        denied && last_lines(tail).any(|line| line.contains("/socket.py\", line "))
    };
    last_lines(tail).any(|line| NETWORK_WORDS.iter().any(|words| line.contains(words))) || denied_socket()
}

/// Whether the end of a log says that a disk was full.
pub(crate) fn no_space_in(tail: &str) -> bool {
    const WORDS: [&str; 3] = ["[Errno 28]", "No space left on device", "os error 28"];
    last_lines(tail).any(|line| WORDS.iter().any(|words| line.contains(words)))
}

fn last_lines(tail: &str) -> impl Iterator<Item = &str> {
    tail.lines().rev().map(str::trim_end).filter(|line| !line.is_empty()).take(LINES)
}

/// Whether a line is the reason at the end of a traceback: a dotted name that ends in `Error` or `Exception`, from the
/// first column on, alone or before a colon.
fn is_exception(line: &str) -> bool {
    let name = line.split(": ").next().unwrap_or_default().trim_end_matches(':');
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    is_name && ["Error", "Exception", "Interrupt", "Exit"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framework_that_says_so_is_believed() {
        for line in [
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
            "torch.OutOfMemoryError: CUDA out of memory.",
            "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
            "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate",
        ] {
            let tail = format!("epoch 1\nTraceback (most recent call last):\n  File \"main.py\"\n{line}\n");
            assert!(gpu_oom_in(&tail), "{line}");
            assert!(!host_oom_in(&tail), "{line}");
        }
        for line in [
            "MemoryError",
            "MemoryError: ",
            "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 75 GiB",
            "terminate called after throwing an instance of 'std::bad_alloc'",
        ] {
            let tail = format!("Traceback (most recent call last):\n  File \"main.py\"\n{line}\n\n");
            assert!(host_oom_in(&tail), "{line}");
            assert!(!gpu_oom_in(&tail), "{line}");
        }
    }

    #[test]
    fn a_log_with_such_letters_in_it_is_not_out_of_memory() {
        for tail in [
            "cleaning the room\nzoom in\noom\nbloom filter",
            "we guard against MemoryError here\nValueError: no data",
            "MemoryError\nduring its handling:\nValueError: no data",
            "this model never runs out of memory",
            "  MemoryError is caught by the loader",
            "",
        ] {
            assert!(!host_oom_in(tail) && !gpu_oom_in(tail), "{tail:?}");
        }
    }

    #[test]
    fn a_file_that_grew_too_large_is_told_apart() {
        assert!(file_limit_in("Traceback (most recent call last):\nOSError: [Errno 27] File too large\n"));
        for line in [
            "cp: error writing '/tmp/x': File too large",
            "subprocess.CalledProcessError: Command '['dd']' died with <Signals.SIGXFSZ: 25>.",
            "OSError: Can't write data (file write failed: errno = 27, error message = 'File too large')",
        ] {
            assert!(file_limit_in(line), "{line}");
        }
        let chained = |cause: &str, lead: &str, frames: usize| {
            let frames = "  File \"main.py\", line 1, in save\n    raise\n".repeat(frames);
            format!(
                "Traceback (most recent call last):\n{frames}{cause}\n\n{lead}\n\nTraceback (most recent call \
                 last):\n{frames}RuntimeError: could not save\n"
            )
        };
        let (during, from) = (
            "During handling of the above exception, another exception occurred:",
            "The above exception was the direct cause of the following exception:",
        );
        for lead in [during, from] {
            assert!(file_limit_in(&chained("OSError: [Errno 27] File too large", lead, 15)), "{lead}");
            let twice = chained(&chained("OSError: [Errno 27] File too large: 'a'", lead, 2), during, 3);
            assert!(file_limit_in(&twice), "{lead}");
            assert!(!file_limit_in(&chained("KeyError: 27", lead, 1)), "{lead}");
        }
        assert!(!file_limit_in(&chained("OSError: [Errno 27] File too large", "the next:", 1)));
        for line in [
            "OSError: [Errno 28] No space left on device",
            "OSError: [Errno 27] File too large\nduring its handling:\nValueError: no data",
            "ValueError: File too large",
        ] {
            assert!(!file_limit_in(line), "{line}");
        }
    }

    #[test]
    fn a_network_that_is_not_there_is_told_by_whoever_asks_for_it() {
        for line in [
            "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
            "socket.gaierror: [Errno -2] Name or service not known",
            "OSError: [Errno 101] Network is unreachable",
            "httpx.ConnectError: [Errno -3] Temporary failure in name resolution",
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
            "curl: (6) Could not resolve host: example.org",
            "  File \"/usr/lib/python3.11/socket.py\", line 232, in __init__\n    _socket.socket.__init__(self)\n\
             PermissionError: [Errno 1] Operation not permitted",
        ] {
            assert!(no_network_in(line), "{line}");
        }
        for line in [
            "PermissionError: [Errno 1] Operation not permitted: 'file'",
            "ConnectionError: the network converged to NaN",
            "ValueError: network has 3 layers",
            "",
        ] {
            assert!(!no_network_in(line), "{line}");
        }
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        assert!(no_space_in("Traceback (most recent call last):\nOSError: [Errno 28] No space left on device\n"));
        assert!(!no_space_in("ValueError: no space in name"));
    }

    #[test]
    fn what_was_said_long_before_the_end_does_not_count() {
        let tail = format!("CUDA out of memory: trying a smaller batch\n{}", "epoch\n".repeat(30));
        assert!(!gpu_oom_in(&tail));
    }
}
