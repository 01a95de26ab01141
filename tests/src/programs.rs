//! Programs that tests submit.

use std::path::Path;

/// A program that completes at once.
pub const INSTANT: &str = r#"
import json, sys
output = sys.argv[sys.argv.index("--output") + 1]
print("hello from the job")
json.dump({"params": {"lr": 0.1}, "metrics": {"auc": 0.5}}, open(output + "/metrics.json", "w"))
"#;

/// A program that says so when it has begun, waits until there is a file at `gate`, and completes.
///
/// Should the test be gone with the folder of its gate, it ends too.
///
/// # Panics
/// Never: a gate has a folder.
#[must_use]
pub fn gated(gate: &Path) -> String {
    let (gate, folder) = (gate.display(), gate.parent().expect("a gate has a folder").display());
    format!(
        "import os, sys, time\nprint('begun')\nwhile not os.path.exists('{gate}'):\n    time.sleep(0.02)\n    \
         if not os.path.exists('{folder}'): sys.exit('the test is gone')\n{INSTANT}"
    )
}
